//! Every table as it stands in the file.

use toml::de::DeTable;

use crate::config::answers::Answers;
use crate::config::devices::Devices;
use crate::config::overload::Overload;
use crate::config::pushes::Pushes;
use crate::config::rates::{ClassKeys, RateKeys};
use crate::config::section::{Key, Reader, Section};
use crate::config::sections::{
    Admin, Admission, AuthKeys, CoreKeys, EndpointKeys, Heartbeat, KeyFiles, LISTENER_UNWRITTEN, Limits,
    ListenerKeys, Lists, Log, Node, Receive, Requests, RingKeys, RouteKeys, SuiteKeys, UpstreamKeys,
};
use crate::config::sessions::Sessions;

const TABLES: [(&str, &[Key]); 25] = [
    ("", Node::KEYS),
    ("core", CoreKeys::KEYS),
    ("listener", ListenerKeys::KEYS),
    ("keys", KeyFiles::KEYS),
    ("suites", SuiteKeys::KEYS),
    ("limits", Limits::KEYS),
    ("admission", Admission::KEYS),
    ("rates", RateKeys::KEYS),
    ("class", ClassKeys::KEYS),
    ("devices", Devices::KEYS),
    ("sessions", Sessions::KEYS),
    ("pushes", Pushes::KEYS),
    ("answers", Answers::KEYS),
    ("overload", Overload::KEYS),
    ("lists", Lists::KEYS),
    ("heartbeat", Heartbeat::KEYS),
    ("ring", RingKeys::KEYS),
    ("receive", Receive::KEYS),
    ("requests", Requests::KEYS),
    ("auth", AuthKeys::KEYS),
    ("route", RouteKeys::KEYS),
    ("endpoint", EndpointKeys::KEYS),
    ("upstream", UpstreamKeys::KEYS),
    ("admin", Admin::KEYS),
    ("log", Log::KEYS),
];

/// All keys by table; the first table is the root.
pub(in crate::config) fn keys() -> Vec<(&'static str, &'static [Key])> {
    TABLES.to_vec()
}

/// Every table as it stands in the file.
pub(super) struct Tables {
    pub(super) node: Node,
    pub(super) cores: Vec<CoreKeys>,
    pub(super) listeners: Vec<ListenerKeys>,
    pub(super) keys: KeyFiles,
    pub(super) suites: SuiteKeys,
    pub(super) limits: Limits,
    pub(super) admission: Admission,
    pub(super) rates: RateKeys,
    pub(super) classes: Vec<ClassKeys>,
    pub(super) devices: Devices,
    pub(super) sessions: Sessions,
    pub(super) pushes: Pushes,
    pub(super) answers: Answers,
    pub(super) overload: Overload,
    pub(super) lists: Lists,
    pub(super) heartbeat: Heartbeat,
    pub(super) ring: RingKeys,
    pub(super) receive: Receive,
    pub(super) requests: Requests,
    pub(super) auth: AuthKeys,
    pub(super) routes: Vec<RouteKeys>,
    pub(super) endpoints: Vec<EndpointKeys>,
    pub(super) upstream: UpstreamKeys,
    pub(super) admin: Admin,
    pub(super) log: Log,
}

/// Reads all of them, and finds every table's problems.
pub(super) fn tables(reader: &mut Reader<'_>, root: &DeTable<'_>) -> Option<Tables> {
    let names: Vec<&str> = TABLES.iter().map(|(name, _)| *name).filter(|name| !name.is_empty()).collect();
    // All are read before the first `?`, so that every table's problems are found.
    let node = reader.fields(Some(root), "", &names);
    let cores = reader.tables(root, "core");
    let listeners = reader.tables_or(root, "listener", LISTENER_UNWRITTEN);
    let keys = reader.table(root, "keys");
    let suites = reader.table(root, "suites");
    let limits = reader.table(root, "limits");
    let admission = reader.table(root, "admission");
    let rates = reader.table(root, "rates");
    let classes = reader.tables(root, "class");
    let devices = reader.table(root, "devices");
    let pushes = reader.table(root, "pushes");
    let answers = reader.table(root, "answers");
    let sessions = reader.table(root, "sessions");
    let overload = reader.table(root, "overload");
    let lists = reader.table(root, "lists");
    let heartbeat = reader.table(root, "heartbeat");
    let ring = reader.table(root, "ring");
    let receive = reader.table(root, "receive");
    let requests = reader.table(root, "requests");
    let auth = reader.table(root, "auth");
    let routes = reader.tables(root, "route");
    let endpoints = reader.tables(root, "endpoint");
    let upstream = reader.table(root, "upstream");
    let admin = reader.table(root, "admin");
    let log = reader.table(root, "log");
    Some(Tables {
        node: node?,
        cores: cores?,
        listeners: listeners?,
        keys: keys?,
        suites: suites?,
        limits: limits?,
        admission: admission?,
        rates: rates?,
        classes: classes?,
        devices: devices?,
        sessions: sessions?,
        pushes: pushes?,
        answers: answers?,
        overload: overload?,
        lists: lists?,
        heartbeat: heartbeat?,
        ring: ring?,
        receive: receive?,
        requests: requests?,
        auth: auth?,
        routes: routes?,
        endpoints: endpoints?,
        upstream: upstream?,
        admin: admin?,
        log: log?,
    })
}
