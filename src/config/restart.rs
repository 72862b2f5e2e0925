//! Which changes of the file wait for a restart.

use crate::config::Config;

impl Config {
    /// Returns the keys that differ between `old` and `new` and take effect only at a restart: what
    /// is bound or built once, before the first request.
    ///
    /// Everything else is taken over by a reload; `[limits]` then holds for new connections.
    pub fn needs_restart(old: &Self, new: &Self) -> Vec<String> {
        let fixed = [
            ("inbound.listen", old.inbound.listen != new.inbound.listen),
            ("outbound.listen", old.outbound.listen != new.outbound.listen),
            ("admin.listen", old.admin.listen != new.admin.listen),
            ("limits.connections", old.limits.connections != new.limits.connections),
            ("runtime.workers", old.runtime.workers != new.runtime.workers),
            ("log.format", old.log.format != new.log.format),
        ];
        let fixed = fixed.into_iter().filter(|(_, differ)| *differ).map(|(key, _)| key.to_owned());
        let listen = |config: &Self, name| config.services.get(name).and_then(|it| it.listen);
        let gone = old.services.keys().filter(|name| !new.services.contains_key(*name));
        let services = new.services.keys().chain(gone);
        let services = services.filter(|name| listen(old, *name) != listen(new, *name));
        let services = services.map(|name| format!("services.\"{name}\".listen"));
        fixed.chain(services).collect()
    }
}
