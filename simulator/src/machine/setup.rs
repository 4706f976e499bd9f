//! From a program to the state of the fabric before the first cycle. The verifier has found no error in the program.

use super::band::{Band, Link, Span};
use super::decode::{ClassCode, Decoder};
use super::host::{self, Sink, Source};
use super::operand::Slots;
use super::pe::{FifoState, InputQueue, OutputQueue, Pe, Place};
use super::router::{Lane, Router};
use super::steps::Shared;
use super::unknown::{self, Unknown};
use crate::{Claims, Engine, Inputs, Options, SimulateError};
use std::collections::BTreeMap;
use std::path::Path;
use waferloom_fabric::{ColorRef, Control, Coord, Direction, HostView, Machine, Port, PortKind, Program, Value};

/// Lanes whose queues, one per port, fit a bit mask.
const MOST_LANES: usize = 128 / 5;

/// Wavelets that a link takes: what the queue at its other end holds, and those under way.
pub(crate) fn link_room(machine: &Machine) -> u16 {
    machine.router_queue_depth.saturating_add(machine.hop_cycles as u16 - 1)
}

/// A program made ready to run.
pub(crate) struct Fabric<'a> {
    pub(crate) program: &'a Program,
    classes: Vec<ClassCode>,
    controls: Vec<Control>,
    inputs: &'a Inputs<'a>,
    base_dir: &'a Path,
    /// Whether the run is for the time alone, on an engine that can do without numbers.
    pub(crate) without_numbers: bool,
    /// Whether the code has steps of claims.
    pub(crate) heeds_claims: bool,
    /// Whether the host gets its tensors.
    pub(crate) gives_outputs: bool,
}

fn invalid(message: String) -> SimulateError {
    SimulateError::Invalid { findings: message }
}

impl<'a> Fabric<'a> {
    pub(crate) fn new(
        program: &'a Program,
        inputs: &'a Inputs<'a>,
        options: &Options<'a>,
    ) -> Result<Self, SimulateError> {
        let heeds_claims = options.engine == Engine::Stream
            && !options.timing_only
            && options.claims != Claims::Ignore
            && !program.claims.is_empty();
        let mut decoder = Decoder::new(program, heeds_claims);
        let classes: Vec<ClassCode> = program.classes.iter().map(|c| decoder.class(c)).collect();
        let controls = decoder.controls;
        if controls.len() >= usize::from(u16::MAX) {
            return Err(invalid("more than 65534 different control wavelets; use fewer".into()));
        }
        let ports = || program.ports.iter().filter(|p| p.kind == PortKind::Input);
        for port in ports() {
            if !inputs.0.contains_key(port.name.as_str()) {
                return Err(SimulateError::InputMissing { name: port.name.clone() });
            }
        }
        if let Some(name) = inputs.0.keys().find(|name| ports().all(|p| p.name != **name)) {
            let known: Vec<&str> = ports().map(|p| p.name.as_str()).collect();
            return Err(SimulateError::InputUnknown { name: (*name).into(), known: known.join(", ") });
        }
        Ok(Self {
            program,
            classes,
            controls,
            inputs,
            base_dir: options.base_dir.unwrap_or(Path::new(".")),
            without_numbers: options.timing_only && options.engine == Engine::Stream,
            gives_outputs: !options.timing_only,
            heeds_claims,
        })
    }

    /// What all PEs share.
    pub(crate) fn shared(&self) -> Shared<'_> {
        Shared {
            machine: &self.program.machine,
            classes: &self.classes,
            routes: &self.program.routes,
            controls: &self.controls,
            operators: self.program.operators.len(),
            without_numbers: self.without_numbers,
            by_value: unknown::filtered_by_value(&self.program.routes),
        }
    }

    /// Code of a class, for messages.
    pub(crate) fn class(&self, index: u16) -> &ClassCode {
        &self.classes[index as usize]
    }

    /// The link over which a port's stream runs.
    pub(crate) fn link(&self, port: &Port, stream: u16) -> Link {
        let at = port.stream_pe(stream);
        (self.program.grid.index(at) as u32, port.edge as u8, port.color.0)
    }

    /// The fabric cut into `count` bands of rows.
    pub(crate) fn bands(&self, count: usize) -> Result<Vec<Band>, SimulateError> {
        let grid = self.program.grid;
        let mut routers = self.routers()?;
        let mut pes = self.pes(&routers);
        for (pe, lane) in pes.iter().zip(&mut routers).flat_map(|(pe, r)| r.lanes.iter_mut().map(move |l| (pe, l))) {
            let listens = |queue: &Option<InputQueue>| queue.as_ref().is_some_and(|q| q.color == lane.color);
            lane.input = pe.inputs.iter().position(listens).map(|queue| queue as u8);
        }
        self.load_constants(&mut pes)?;
        let (mut pes, mut routers) = (pes.into_iter(), routers.into_iter());
        let height = usize::from(grid.height);
        let mut bands = Vec::with_capacity(count);
        for band in 0..count {
            let rows = height * (band + 1) / count - height * band / count;
            let first = (height * band / count) * usize::from(grid.width);
            let size = rows * usize::from(grid.width);
            bands.push(Band {
                grid,
                first,
                pes: pes.by_ref().take(size).collect(),
                routers: routers.by_ref().take(size).collect(),
                sources: Vec::new(),
                sinks: Vec::new(),
                source_at: BTreeMap::new(),
                sink_at: BTreeMap::new(),
                spans: vec![Span::default(); self.program.operators.len()],
            });
        }
        self.attach_ports(&mut bands)?;
        Ok(bands)
    }

    fn routers(&self) -> Result<Vec<Router>, SimulateError> {
        let grid = self.program.grid;
        let machine = &self.program.machine;
        let mut routers = vec![Router::default(); grid.pes()];
        for (index, route) in self.program.routes.iter().enumerate() {
            for at in route.region.coords() {
                let router = &mut routers[grid.index(at)];
                if router.lanes.len() == MOST_LANES {
                    return Err(invalid(format!(
                        "PE ({}, {}) has routes for more than {MOST_LANES} colours; use fewer",
                        at.x, at.y
                    )));
                }
                router.lanes.push(Lane::new(index, &self.program.routes));
            }
        }
        let room = link_room(machine);
        for index in 0..routers.len() {
            for lane in 0..routers[index].lanes.len() {
                let color = routers[index].lanes[lane].color;
                for direction in &Direction::ALL[..4] {
                    let peer = direction.neighbour(grid.coord(index), grid);
                    if peer.is_some_and(|at| routers[grid.index(at)].lane_of(color).is_some()) {
                        routers[index].lanes[lane].credits[*direction as usize] = room;
                    }
                }
            }
        }
        Ok(routers)
    }

    fn pes(&self, routers: &[Router]) -> Vec<Pe> {
        let program = self.program;
        let grid = program.grid;
        let mut pes: Vec<Pe> = (0..grid.pes()).map(|i| Pe { at: Place(grid.coord(i)), ..Pe::default() }).collect();
        for placement in &program.placements {
            for at in placement.region.coords() {
                let index = grid.index(at);
                self.fill(&mut pes[index], &routers[index], at, placement.class);
            }
        }
        pes
    }

    fn fill(&self, pe: &mut Pe, router: &Router, at: Coord, class_index: u32) {
        let program = self.program;
        let machine = &program.machine;
        let class = &program.classes[class_index as usize];
        let code = &self.classes[class_index as usize];
        pe.class = Some(class_index as u16);
        let slots = Slots::of(program);
        pe.slots = Vec::with_capacity(slots.count());
        pe.slots.resize(1 + slots.registers as usize, 0);
        pe.slots.extend(program.params.iter().map(|p| p.values.at(at, program.grid)));
        pe.microthreads = vec![None; machine.microthreads.into()];
        (pe.activated, pe.blocked) = (code.activated, code.blocked);
        let fifo_end = class.fifos.iter().map(|f| f.address.saturating_add(f.words.saturating_mul(4))).max();
        let data = class.data_bytes().max(fifo_end.unwrap_or(0));
        pe.memory = vec![0; data as usize];
        if self.without_numbers {
            pe.unknown = Unknown::new(data as usize);
        }
        pe.fifos =
            class.fifos.iter().map(|f| FifoState { address: f.address, words: f.words, head: 0, filled: 0 }).collect();
        let color = |color: ColorRef| match color {
            ColorRef::Fixed(color) => color.0,
            ColorRef::Param(p) => slots.number(Value::Param(p)).get(&pe.slots) as u8,
        };
        let ramp = machine.ramp_cycles;
        pe.inputs = vec![None; machine.input_queue_depths.len()];
        for binding in &class.input_queues {
            // The ramp's pipeline holds wavelets beside the queue.
            let capacity = u32::from(machine.input_queue_depths[binding.queue as usize]).saturating_add(ramp);
            let queue = InputQueue { color: color(binding.color), capacity, held: 0 };
            pe.inputs[binding.queue as usize] = Some(queue);
        }
        pe.outputs = vec![None; machine.output_queue_depths.len()];
        for binding in &class.output_queues {
            let depth = u32::from(machine.output_queue_depths[binding.queue as usize]);
            let capacity = depth.saturating_add(ramp).saturating_add(1);
            let color = color(binding.color);
            let lane = router.lane_of(color).map(|l| l as u8);
            pe.outputs[binding.queue as usize] = Some(OutputQueue { color, lane, capacity });
        }
    }

    fn load_constants(&self, pes: &mut [Pe]) -> Result<(), SimulateError> {
        let grid = self.program.grid;
        for constant in &self.program.constants {
            let bad = |why: String| invalid(format!("constant `{}`: {why}", constant.name));
            let size = constant.dtype.bytes() as usize;
            if self.without_numbers && constant.dtype.is_float() {
                let (tiles, bytes) = (constant.distribution.grid, constant.distribution.tile_elements() * size);
                for (x, y) in (0..tiles.height).flat_map(|y| (0..tiles.width).map(move |x| (x, y))) {
                    let at = Coord { x: constant.origin.x + x, y: constant.origin.y + y };
                    pes[grid.index(at)].unknown.set(constant.address as usize, bytes, true);
                }
                continue;
            }
            let expected = (constant.distribution.elements() * size) as u64;
            let bytes = constant.payload.load(self.base_dir, expected).map_err(|e| bad(e.to_string()))?;
            let tiles = constant.distribution.grid;
            for (x, y) in (0..tiles.height).flat_map(|y| (0..tiles.width).map(move |x| (x, y))) {
                let at = Coord { x: constant.origin.x + x, y: constant.origin.y + y };
                let memory = &mut pes[grid.index(at)].memory;
                let mut start = constant.address as usize;
                for (index, length) in constant.distribution.tile_runs(x, y) {
                    let end = start + length * size;
                    if let Some(index) = index {
                        memory[start..end].copy_from_slice(&bytes[index * size..(index + length) * size]);
                    }
                    start = end;
                }
            }
        }
        Ok(())
    }

    fn attach_ports(&self, bands: &mut [Band]) -> Result<(), SimulateError> {
        let machine = &self.program.machine;
        let links = |kind| {
            let ports = self.program.ports.iter().filter(move |p| p.kind == kind);
            let all = ports.flat_map(|p| (0..p.streams()).map(move |s| (p, s)));
            all.map(|(p, s)| self.link(p, s)).collect::<std::collections::BTreeSet<Link>>().len()
        };
        let interval = |count: usize| (count as f64 / machine.host_wavelets_per_cycle).ceil().max(1.0) as u64;
        let intervals = [interval(links(PortKind::Input)), interval(links(PortKind::Output))];
        let items = self.program.items;
        let tensor = |port: &Port| match port.kind {
            PortKind::Input => Some(self.inputs.0[port.name.as_str()]),
            PortKind::Output => None,
        };
        for port in &self.program.ports {
            tensor(port).map_or(Ok(()), |tensor| host::check(port, items, tensor))?;
        }
        for item in 0..items as usize {
            for port in &self.program.ports {
                let first = item * port.distribution.elements();
                for stream in 0..port.streams() {
                    self.attach(bands, port, stream, tensor(port).map(|tensor| (tensor, first)), intervals)?;
                }
            }
        }
        for band in bands {
            for source in &mut band.sources {
                source.item_wavelets = (source.data.len() / items as usize).max(1);
            }
            for sink in &mut band.sinks {
                sink.item_wavelets = (sink.expected / items as usize).max(1);
            }
        }
        Ok(())
    }

    /// Makes the host's end of a stream, where it is not there yet, for one more item: of an input the tensor with all items,
    /// and the item's first element.
    fn attach(
        &self,
        bands: &mut [Band],
        port: &Port,
        stream: u16,
        input: Option<(HostView<'_>, usize)>,
        intervals: [u64; 2],
    ) -> Result<(), SimulateError> {
        let link = self.link(port, stream);
        let index = link.0 as usize;
        let band = bands.iter_mut().find(|b| (b.first..b.first + b.pes.len()).contains(&index));
        let Some(band) = band else { return Ok(()) };
        let local = index - band.first;
        let Some(lane) = band.routers[local].lane_of(port.color.0) else { return Ok(()) };
        if let Some((tensor, first)) = input {
            let source = *band.source_at.entry(link).or_insert_with(|| {
                let credits = self.program.machine.router_queue_depth;
                let (direction, interval) = (port.edge, intervals[0]);
                band.sources.push(Source {
                    local,
                    lane,
                    direction,
                    data: Vec::new(),
                    next: 0,
                    item_wavelets: 1,
                    item_starts: Vec::new(),
                    credits,
                    interval,
                    earliest: 0,
                });
                band.sources.len() - 1
            });
            host::add_stream(&mut band.sources[source].data, port, stream, tensor, first)?;
        } else {
            let sink = *band.sink_at.entry(link).or_insert_with(|| {
                band.routers[local].lanes[lane].credits[port.edge as usize] = 1;
                let (direction, interval) = (port.edge, intervals[1]);
                band.sinks.push(Sink {
                    local,
                    lane,
                    direction,
                    expected: 0,
                    left_out: false,
                    data: Vec::new(),
                    item_wavelets: 1,
                    item_ends: Vec::new(),
                    interval,
                    restore_at: None,
                    last: 0,
                });
                band.sinks.len() - 1
            });
            band.sinks[sink].expected += port.stream_wavelets();
        }
        Ok(())
    }
}
