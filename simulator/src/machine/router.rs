//! A router: a switch per colour.

use waferloom_fabric::{ColorRoute, Filter, PortSet, SwitchCommand};

/// One colour at one router.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    pub(crate) color: u8,
    /// Index into the program's routes.
    pub(crate) route: u32,
    /// The PE's input queue that listens to the colour.
    pub(crate) input: Option<u8>,
    position: u8,
    /// The ports of that position.
    ports: (PortSet, PortSet),
    /// A teardown has closed the route.
    pub(crate) closed: bool,
    /// Wavelets that the filter has seen.
    pub(crate) filtered: u32,
    /// Room in the queue at the other end of each outgoing link.
    pub(crate) credits: [u16; 4],
}

/// A router's state. Only colours with a route have a lane.
#[derive(Debug, Default)]
pub(crate) struct Router<'s> {
    pub(crate) lanes: &'s mut [Lane],
    /// Wavelets sent, by direction.
    pub(crate) sent: [u64; 5],
}

impl Lane {
    /// The lane of a route (its index among the program's) as it stands in the first cycle.
    pub(crate) fn new(index: usize, routes: &[ColorRoute]) -> Self {
        let route = &routes[index];
        let mut lane = Self {
            color: route.color.0,
            route: index as u32,
            input: None,
            position: 0,
            ports: Default::default(),
            closed: false,
            filtered: 0,
            credits: [0; 4],
        };
        lane.set_position(route.start, routes);
        lane
    }

    /// The ports in force: from where wavelets are taken, and to where they go.
    pub(crate) fn ports(&self) -> (PortSet, PortSet) {
        self.ports
    }

    /// The switch's position.
    pub(crate) fn position(&self) -> u8 {
        self.position
    }

    /// Puts the switch into a position; one that does not exist takes and sends nothing.
    pub(crate) fn set_position(&mut self, position: u8, routes: &[ColorRoute]) {
        self.position = position;
        let positions = &routes[self.route as usize].positions;
        self.ports = positions.get(position as usize).map_or_else(Default::default, |p| (p.rx, p.tx));
    }

    /// Obeys a command; says whether a teardown task is due.
    pub(crate) fn obey(&mut self, command: SwitchCommand, routes: &[ColorRoute]) -> bool {
        let route = &routes[self.route as usize];
        match command {
            SwitchCommand::Advance if usize::from(self.position) + 1 < route.positions.len() => {
                self.set_position(self.position + 1, routes);
            }
            SwitchCommand::Advance if route.ring => self.set_position(0, routes),
            SwitchCommand::Advance | SwitchCommand::Nop => {}
            SwitchCommand::Reset => self.set_position(route.start, routes),
            SwitchCommand::Teardown => {
                self.closed = true;
                return true;
            }
        }
        false
    }

    /// Whether the filter lets a data wavelet go down the ramp.
    pub(crate) fn would_admit(&self, data: u32, routes: &[ColorRoute]) -> bool {
        match routes[self.route as usize].filter {
            None => true,
            Some(Filter::Range { low, high }) => (low..=high).contains(&((data >> 16) as u16)),
            Some(Filter::Count { first, pass, .. }) => self.filtered >= first && self.filtered - first < pass,
        }
    }

    /// The same, and counts the wavelet.
    pub(crate) fn admit(&mut self, data: u32, routes: &[ColorRoute]) -> bool {
        let admitted = self.would_admit(data, routes);
        if let Some(Filter::Count { period, .. }) = routes[self.route as usize].filter {
            self.filtered = (self.filtered + 1) % period.max(1);
        }
        admitted
    }
}

impl Router<'_> {
    /// The lane of a colour.
    pub(crate) fn lane_of(&self, color: u8) -> Option<usize> {
        self.lanes.iter().position(|l| l.color == color)
    }
}
