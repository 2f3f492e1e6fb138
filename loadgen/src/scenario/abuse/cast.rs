//! Who takes part, with what the options say of each.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use protocol::noise::StaticKey;

use crate::fleet::{self, Load};
use crate::mob::{self, Conduct};
use crate::opening::Opening;
use crate::options::{Abuse, AbuseKind, Tags};
use crate::plan::mix;
use crate::result::abuse::Asked;
use crate::scenario::course::random;
use crate::sources::honest as addresses;
use crate::target::{self, Target};
use crate::worker::links_max;

/// Bytes of payload of an honest message.
pub(super) const SIZE: usize = 64;
/// Honest links that may be between connect and welcome at once, whatever the ramp: a gateway may have room for few strangers, and
/// they must not push each other out.
const OPENING_MAX: u32 = 16;
/// Between two honest messages of a link.
const INTERVAL_MIN: Duration = Duration::from_millis(1);
const INTERVAL_MAX: Duration = Duration::from_hours(1);

/// The honest links, and those that come under attack.
pub(super) fn honest(options: &Abuse, target: &Target) -> Result<[fleet::Settings; 2], String> {
    let destination = destination(target)?;
    let random = random()?;
    let steady = f64::from(options.honest) / honest_rate(options);
    let interval = Duration::try_from_secs_f64(steady)
        .ok()
        .filter(|interval| (INTERVAL_MIN..=INTERVAL_MAX).contains(interval))
        .ok_or(
            "--honest-rate must let each link send between once per hour and a thousand times per second",
        )?;
    // Evenly over a phase, the last one within it.
    let between = options.duration / per_phase(options);
    let settings = |first, links, load, number| fleet::Settings {
        opening: opening(options, target, random),
        tokens: None,
        heartbeat: options.shared.heartbeat,
        sources: addresses(first, links),
        destinations: vec![destination],
        first,
        links,
        opening_max: options.shared.ramp.clamp(1, OPENING_MAX),
        opening_deadline: options.shared.timeout,
        run: u32::from_be_bytes([random[0], random[1], random[2], random[3]]),
        seed: mix(u64::from(random[4]), number),
        size: SIZE,
        batch: 1,
        load,
        pushes: None,
        keeps_sessions: false,
    };
    Ok([
        settings(0, options.honest, Load::Planned { interval }, 0),
        settings(
            options.honest,
            options.connects,
            Load::Cycle { interval: Some(between), tickets: false },
            1,
        ),
    ])
}

/// As whom all of them come: any user, on a device with this key.
fn opening(options: &Abuse, target: &Target, device_key: [u8; 32]) -> Opening {
    let suite = options.shared.suite.suite();
    let device_key = StaticKey::from_secret(device_key);
    Opening::new(target.server_key, suite, device_key, target.token.clone().into_bytes())
}

/// Messages per second of all honest links together.
pub(super) fn honest_rate(options: &Abuse) -> f64 {
    options.honest_rate.unwrap_or(options.honest.into())
}

/// New honest links in each phase under attack, the last of which may have fewer.
pub(super) fn per_phase(options: &Abuse) -> u32 {
    options.connects.div_ceil(options.pairs)
}

/// The attackers.
pub(super) fn mob(options: &Abuse, target: &Target) -> Result<mob::Settings, String> {
    let links_max = links_max()?;
    if options.links > links_max {
        return Err(format!(
            "--links {}: the attackers' ring holds {links_max} links here (the limit on open files, `ulimit -Hn`, and 20000 at \
             most): raise that limit, ask for fewer, or run two of these side by side",
            options.links
        ));
    }
    let ports = target::ports().map_err(|error| format!("ip_local_port_range: {error}"))?;
    if options.links.div_ceil(options.sources) > ports {
        return Err(format!(
            "--links {} from {} addresses need more than the {ports} ports each of them has: take more --sources",
            options.links, options.sources
        ));
    }
    let random = random()?;
    Ok(mob::Settings {
        opening: opening(options, target, random),
        destination: destination(target)?,
        sources: options.sources,
        links: options.links,
        interval: Duration::from_secs(1) / options.rate,
        attempts_max: options.attempts.unwrap_or(u64::MAX),
        at_once: options.at_once,
        opening_deadline: options.shared.timeout,
        seed: u64::from_be_bytes(*random.first_chunk().expect("32 bytes hold eight")),
        conduct: conduct(options),
    })
}

pub(super) fn conduct(options: &Abuse) -> Conduct {
    match options.kind {
        AbuseKind::HalfOpen => Conduct::Silent,
        AbuseKind::Slowloris => Conduct::Drip { interval: options.interval },
        AbuseKind::HelloFlood => {
            Conduct::Replay { valid: options.tags == Tags::Valid, patience: options.patience }
        }
        AbuseKind::Junk => Conduct::Junk,
        AbuseKind::ConnectChurn => Conduct::Churn,
        AbuseKind::FrameFlood => Conduct::Frames { per_second: options.frames },
        AbuseKind::PingFlood => Conduct::Pings { per_second: options.frames },
    }
}

/// For the result.
pub(super) fn asked(options: &Abuse) -> Asked {
    let kind = match (options.kind, options.tags) {
        (AbuseKind::HalfOpen, _) => "half-open",
        (AbuseKind::Slowloris, _) => "slowloris",
        (AbuseKind::HelloFlood, Tags::Valid) => "hello-flood",
        (AbuseKind::HelloFlood, Tags::Invalid) => "hello-flood with invalid tags",
        (AbuseKind::Junk, _) => "junk",
        (AbuseKind::ConnectChurn, _) => "connect-churn",
        (AbuseKind::FrameFlood, _) => "frame-flood",
        (AbuseKind::PingFlood, _) => "ping-flood",
    };
    Asked {
        kind,
        sources: options.sources,
        links: options.links,
        attempts_per_second: options.rate,
        pairs: options.pairs,
    }
}

/// Where everybody goes. Links from 127.0.0.0/8 reach nothing else.
fn destination(target: &Target) -> Result<SocketAddr, String> {
    let port = target.address.port();
    match target.address.ip() {
        ip if ip.is_unspecified() => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        IpAddr::V4(v4) if v4.is_loopback() => Ok(target.address),
        other => Err(format!(
            "abuse comes from 127.1.0.0/16, and from there nothing leads to {other}: let the gateway listen on 127.0.0.1 or \
             0.0.0.0 of this machine, and give that address"
        )),
    }
}

#[cfg(test)]
mod tests {
    use clap::{Parser, ValueEnum};
    use protocol::noise::PublicKey;

    use super::*;
    use crate::options::{Options, Scenario};

    fn options(line: &str) -> Abuse {
        let words = ["loadgen", "abuse"].into_iter().chain(line.split_whitespace());
        let Scenario::Abuse(abuse) = Options::try_parse_from(words).unwrap().scenario else {
            panic!("{line}")
        };
        abuse
    }

    fn target(address: &str) -> Target {
        Target {
            address: address.parse().unwrap(),
            server_key: PublicKey([9; 32]),
            token: "t".to_owned(),
            http: None,
            pid: None,
            unwatched: None,
        }
    }

    #[test]
    fn every_kind_has_its_conduct_and_is_called_what_the_command_line_calls_it() {
        let mut seen = Vec::new();
        for kind in AbuseKind::value_variants() {
            let name = kind.to_possible_value().unwrap().get_name().to_owned();
            let options = options(&name);
            assert_eq!(asked(&options).kind, name);
            let conduct = conduct(&options);
            assert!(!seen.contains(&conduct), "{conduct:?} twice");
            assert_eq!(conduct.logs_in(), name == "frame-flood" || name == "ping-flood");
            seen.push(conduct);
        }
        assert_eq!(seen.len(), 7);
        let invalid = options("hello-flood --tags invalid");
        assert_eq!(conduct(&invalid), Conduct::Replay { valid: false, patience: None });
        let hasty = Some(Duration::from_millis(60));
        assert_eq!(
            conduct(&options("hello-flood --patience 60ms")),
            Conduct::Replay { valid: true, patience: hasty }
        );
        assert!(asked(&invalid).kind.contains("invalid"));
    }

    #[test]
    fn honest_links_have_addresses_of_their_own_and_a_plan() {
        let options = options("junk --honest 40 --honest-rate 80 --connects 30 --pairs 2 --duration 3s");
        let [steady, further] = honest(&options, &target("0.0.0.0:7")).unwrap();
        assert_eq!(steady.load, Load::Planned { interval: Duration::from_millis(500) });
        let interval = Some(Duration::from_millis(200));
        assert_eq!(further.load, Load::Cycle { interval, tickets: false });
        assert_eq!((steady.links, steady.sources.len(), steady.opening_max), (40, 3, 16));
        assert_eq!((further.first, further.links, further.sources.len()), (40, 30, 2));
        assert!(steady.sources.iter().all(|source| !further.sources.contains(source)));
        assert_eq!(steady.destinations, ["127.0.0.1:7".parse().unwrap()]);
        for rate in ["0", "-1", "40001", "0.001"] {
            let wrong = Abuse { honest_rate: rate.parse().ok(), ..options.clone() };
            assert!(honest(&wrong, &target("0.0.0.0:7")).is_err(), "{rate}");
        }
    }

    #[test]
    fn what_cannot_be_done_here_is_said_with_a_remedy() {
        for (line, address, remedy) in [
            ("half-open --links 4000000", "127.0.0.1:7", "ulimit -Hn"),
            ("half-open", "10.1.2.3:7", "let the gateway listen on 127.0.0.1"),
            ("half-open", "[::1]:7", "let the gateway listen on 127.0.0.1"),
        ] {
            let error = mob(&options(line), &target(address)).unwrap_err();
            assert!(error.contains(remedy), "{error}");
        }
        let mob = mob(&options("slowloris --rate 250 --interval 2s"), &target("127.0.0.5:7")).unwrap();
        assert_eq!((mob.interval, mob.links, mob.sources), (Duration::from_millis(4), 1000, 64));
        assert_eq!(mob.conduct, Conduct::Drip { interval: Duration::from_secs(2) });
    }
}
