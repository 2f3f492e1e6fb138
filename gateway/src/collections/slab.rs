//! A table of slots that are used again, with a generation per slot, so that an old key never finds a new tenant.

/// Names one tenant of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The slot.
    pub index: u32,
    /// Which tenant of it: raised when a slot is left, wraps after 2³² of them, is never zero.
    pub generation: u32,
}

/// Up to a fixed number of values in slots. The slot left last is used first, while it is still in the cache.
#[derive(Debug)]
pub struct Slab<T> {
    slots: Vec<Slot<T>>,
    /// Slots that were left: a stack through [`Content::Free`].
    free: Option<u32>,
    len: u32,
    max: u32,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    content: Content<T>,
}

#[derive(Debug)]
enum Content<T> {
    Full(T),
    Free { next: Option<u32> },
}

impl<T> Slab<T> {
    /// A table of at most `max` values, whose memory is reserved now.
    #[must_use]
    pub fn new(max: u32) -> Self {
        Self { slots: Vec::with_capacity(max as usize), free: None, len: 0, max }
    }

    /// The same for values that hold secrets: core dumps leave its memory out, where the system can do that.
    #[must_use]
    pub fn secret(max: u32) -> Self {
        let mut table = Self::new(max);
        let _refused = driver::memory::hide_from_dumps(&mut table.slots);
        table
    }

    /// Puts a value into a free slot.
    ///
    /// # Errors
    /// Gives the value back when all slots are taken.
    pub fn insert(&mut self, value: T) -> Result<Key, T> {
        if self.len == self.max {
            return Err(value);
        }
        self.len += 1;
        let Some(index) = self.free else {
            let key = Key { index: self.slots.len() as u32, generation: 1 };
            self.slots.push(Slot { generation: key.generation, content: Content::Full(value) });
            return Ok(key);
        };
        let slot = &mut self.slots[index as usize];
        if let Content::Free { next } = slot.content {
            self.free = next;
        }
        slot.content = Content::Full(value);
        Ok(Key { index, generation: slot.generation })
    }

    /// The value of `key`, unless it has left.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&T> {
        match self.slots.get(key.index as usize) {
            Some(Slot { generation, content: Content::Full(value) }) if *generation == key.generation => {
                Some(value)
            }
            _ => None,
        }
    }

    /// The value of `key`, unless it has left.
    #[must_use]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.slots.get_mut(key.index as usize) {
            Some(Slot { generation, content: Content::Full(value) }) if *generation == key.generation => {
                Some(value)
            }
            _ => None,
        }
    }

    /// The tenant of a slot, for callers that have only its index (a timer's, say).
    #[must_use]
    pub fn at(&self, index: u32) -> Option<(Key, &T)> {
        match self.slots.get(index as usize) {
            Some(Slot { generation, content: Content::Full(value) }) => {
                Some((Key { index, generation: *generation }, value))
            }
            _ => None,
        }
    }

    /// Takes the value of `key` out and frees its slot.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        let slot = &mut self.slots[key.index as usize];
        let content = std::mem::replace(&mut slot.content, Content::Free { next: self.free });
        slot.generation = next_generation(slot.generation);
        self.free = Some(key.index);
        self.len -= 1;
        match content {
            Content::Full(value) => Some(value),
            Content::Free { .. } => None,
        }
    }

    /// All tenants in the order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        (0..self.slots.len() as u32).filter_map(|index| self.at(index))
    }

    /// How many values there may be.
    #[must_use]
    pub const fn max(&self) -> u32 {
        self.max
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// The generation after this one; zero is left out, so that an all-zero key names nothing.
#[must_use]
pub const fn next_generation(generation: u32) -> u32 {
    match generation.wrapping_add(1) {
        0 => 1,
        next => next,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_old_key_does_not_find_the_new_tenant() {
        let mut slab = Slab::new(1);
        let first = slab.insert("first").expect("there is room");
        assert_eq!(slab.insert("second"), Err("second"));
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert("second").expect("there is room again");
        assert_eq!(first.index, second.index);
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(second), Some(&"second"));
        assert_eq!(slab.at(0), Some((second, &"second")));
    }

    #[test]
    fn generations_wrap_past_zero() {
        assert_eq!(next_generation(u32::MAX), 1);
        assert_eq!(next_generation(1), 2);
    }

    #[test]
    fn memory_is_taken_once() {
        let mut slab = Slab::new(100);
        let before = slab.slots.capacity();
        for round in 0..298 {
            let key = slab.insert(round).expect("there is room");
            if round % 3 != 0 {
                slab.remove(key);
            }
        }
        assert_eq!((slab.len(), slab.slots.capacity()), (100, before));
    }

    proptest! {
        #[test]
        fn behaves_like_a_list_of_pairs(steps in prop::collection::vec((0..3u8, 0..12usize), 1..200)) {
            let mut slab = Slab::new(8);
            let mut model: Vec<(Key, usize)> = Vec::new();
            let mut gone: Vec<Key> = Vec::new();
            for (number, (kind, pick)) in steps.into_iter().enumerate() {
                if kind == 0 && !model.is_empty() {
                    let (key, value) = model.swap_remove(pick % model.len());
                    prop_assert_eq!(slab.remove(key), Some(value));
                    gone.push(key);
                } else {
                    match slab.insert(number) {
                        Ok(key) => model.push((key, number)),
                        Err(_) => prop_assert_eq!(model.len(), 8),
                    }
                }
                prop_assert_eq!(slab.len(), model.len());
                prop_assert!(model.iter().all(|(key, value)| slab.get(*key) == Some(value)));
                prop_assert!(gone.iter().all(|key| slab.get(*key).is_none()));
                let mut expected: Vec<_> = model.iter().map(|(key, value)| (*key, value)).collect();
                expected.sort_unstable();
                prop_assert!(slab.iter().eq(expected));
            }
        }
    }
}
