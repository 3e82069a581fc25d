//! Writes a configuration into the maps, as the difference to what they hold.

use crate::SteerError;
use crate::layout::{self, Entry};
use libbpf_rs::{Map, MapCore, MapFlags, Object};
use std::collections::BTreeMap;
use tombolo_wire::steer::SteerConfig;

/// One map: its name in `maps.h`, and what it holds.
struct Held {
    name: &'static str,
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What the configuration maps hold, in the order in which they are written: a port comes after what it needs.
pub(crate) struct ConfigMaps {
    held: [Held; 4],
}

impl Default for ConfigMaps {
    fn default() -> Self {
        let held = |name| Held {
            name,
            entries: BTreeMap::new(),
        };
        Self {
            held: [held("own_addresses"), held("local_ports"), held("hosts"), held("ports")],
        }
    }
}

impl ConfigMaps {
    pub(crate) fn apply(&mut self, object: &Object, config: &SteerConfig) -> Result<(), SteerError> {
        let too_high = |port: &&tombolo_wire::steer::SteerPort| u32::from(port.index) >= layout::PORT_UNKNOWN;
        if let Some(port) = config.ports.iter().find(too_high) {
            return Err(SteerError::PortIndex(port.index));
        }
        let wanted: [BTreeMap<_, _>; 4] = [
            config.ports.iter().flat_map(layout::own_addresses).collect(),
            layout::local_ports(config).collect(),
            [layout::host(config)].into(),
            config.ports.iter().map(layout::port).collect(),
        ];
        for (held, wanted) in self.held.iter_mut().zip(&wanted) {
            held.write(object, wanted)?;
        }
        for (held, wanted) in self.held.iter_mut().zip(&wanted).rev() {
            held.remove_others(object, wanted)?;
        }
        Ok(())
    }
}

impl Held {
    fn write(&mut self, object: &Object, wanted: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<(), SteerError> {
        let entries = &mut self.entries;
        let changed: Vec<Entry> = wanted
            .iter()
            .filter(|(key, value)| entries.get(*key) != Some(value))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        with_map(object, self.name, |map| {
            for (key, value) in changed {
                map.update(&key, &value, MapFlags::ANY)?;
                entries.insert(key, value);
            }
            Ok(())
        })
    }

    fn remove_others(&mut self, object: &Object, wanted: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<(), SteerError> {
        let stale: Vec<Vec<u8>> = self
            .entries
            .keys()
            .filter(|key| !wanted.contains_key(*key))
            .cloned()
            .collect();
        let entries = &mut self.entries;
        with_map(object, self.name, |map| {
            for key in stale {
                map.delete(&key)?;
                entries.remove(&key);
            }
            Ok(())
        })
    }
}

/// Runs `work` on the map of this name.
pub(crate) fn with_map<R>(
    object: &Object,
    name: &'static str,
    work: impl FnOnce(&Map<'_>) -> libbpf_rs::Result<R>,
) -> Result<R, SteerError> {
    let map = object
        .maps()
        .find(|map| map.name() == name)
        .expect("the object holds the maps of maps.h");
    work(&map).map_err(|error| SteerError::Map(name, error))
}
