//! What limits the speed.

use super::{Bound, HostLink, Links, Utilisation};

/// From this load on a link counts as full: queues in front of it are hardly ever empty.
const FULL: f64 = 0.9;

/// A full link names itself; else it is what most cycles of PEs went into. Waiting for wavelets comes before the rest on a
/// tie, and idleness last, because it names no cause.
pub(super) fn bound(utilisation: &Utilisation, links: &Links, host: &HostLink) -> Bound {
    if host.load >= FULL {
        return Bound::HostLink;
    }
    if links.peak_load >= FULL {
        return Bound::Link;
    }
    let shares = [
        (utilisation.fabric_in, Bound::FabricIn),
        (utilisation.busy, Bound::Compute),
        (utilisation.fabric_out, Bound::FabricOut),
        (utilisation.memory, Bound::Memory),
        (utilisation.idle, Bound::Idle),
    ];
    let most = shares.iter().fold(shares[0], |most, &share| if share.0 > most.0 { share } else { most });
    most.1
}
