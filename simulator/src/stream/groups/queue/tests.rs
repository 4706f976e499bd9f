use super::super::flight::LANDED;
use super::super::incoming::Words;
use super::*;
use crate::machine::pe::InputQueue;
use crate::stream::payload::Payload;

/// Four PEs in a row whose queue 1 has room for 4 wavelets.
fn queues() -> Queues {
    let queue = Some(InputQueue { color: 0, capacity: 4, held: 0 });
    let mut inputs: [_; 4] = std::array::from_fn(|_| [None, queue.clone()]);
    let pes = inputs.each_mut().map(|inputs| Pe { inputs, ..Pe::default() });
    Queues::new(&pes, 4).expect("room for 4 can be counted")
}

/// Runs that nothing but their senders have held up.
fn run(count: u32, first: Line, last: Line) -> Incoming {
    Incoming::new((Words::same(Payload::UNKNOWN, 0), count), (first, last), (LANDED, Origin::default()), last)
}

#[test]
fn runs_are_taken_in_their_order_and_in_parts() {
    let mut queues = queues();
    assert_eq!((queues.at(1, 0), queues.at(1, 1)), (None, Some(1)));
    queues.wait(1, 1);
    // Five wavelets in cycles 10, 12, 14, 16, 18, and two behind them.
    let runs = [run(5, Line::flat(10), Line::flat(18)), run(2, Line::flat(20), Line::flat(21))];
    let is_awaited = runs.map(|run| queues.push(1, &mut 1, &run).ok());
    assert_eq!(is_awaited, [Some(true), Some(false)]);
    let mut take = |count: i64| {
        let there = queues.head(1, &mut 1)?.count;
        queues.book(1, 1, count.min(there.into()), Line::flat(0));
        let (run, is_part) = queues.take(1, 1, count)?;
        Some((run.count, run.first.at, run.last.at, is_part))
    };
    assert_eq!(take(2), Some((2, 10, 12, true)));
    assert_eq!(take(9), Some((3, 14, 18, false)));
    assert_eq!(take(2), Some((2, 20, 21, false)));
    assert_eq!(take(1), None);
    assert_eq!(queues.wavelets(), 0);
}

#[test]
fn the_last_wavelet_finds_room_when_those_before_it_are_taken() {
    let mut queues = queues();
    // From the first PE on the way holds 2, 4, 6 and 8 wavelets, the queues 4: of 7 all have room but at the first PE, where one
    // has to be taken first.
    let mut fits = |n: &mut u32, at| queues.fits(at, n, 7, Line { at: 2, slope: 2 }.from(at));
    let (mut first, mut others) = (4, 3);
    assert!(matches!(fits(&mut first, 0), Fits::Later(Line { at: 1, .. })));
    assert!(matches!(fits(&mut others, 1), Fits::Now));
    assert_eq!((first, others), (1, 3));
    let sends = Sends::LastOf(7, Origin::default());
    queues.expect(0, 1, Room { taken: Line::flat(1), hops: Line::flat(3), sends });
    assert!(queues.next_room(0).is_none());
    queues.push(0, &mut 1, &run(7, Line::flat(1), Line::flat(7))).ok().expect("few wavelets");
    // Three are taken in cycles 20, 21 and 22.
    assert_eq!((queues.book(0, 1, 3, Line::flat(20)), queues.take(0, 1, 3).is_some()), (0, true));
    assert!(matches!(queues.next_room(0), Some(Room { taken: Line { at: 1, .. }, .. })));
    assert!(queues.next_room(0).is_none());
    // 4 are left, 3 more have been taken: of 4 more the last is the 11th, for which 5 have to be taken; of 2 more the
    // last is the 9th, for which the third had to be, in the third cycle from 20 on.
    assert!(matches!(queues.fits(0, &mut 1, 4, Line::flat(2)), Fits::Later(Line { at: 5, .. })));
    assert!(matches!(queues.fits(0, &mut 1, 2, Line::flat(2)), Fits::From(Line { at: 23, .. })));
}

#[test]
fn what_finds_no_room_waits_for_what_is_taken() {
    let mut queues = queues();
    // Of 6 wavelets 2 find none in a queue for 4, nor when 5 of 5 others have been taken from cycle 20 on: 3 of those are the last that had to be.
    let beyond = |queues: &mut Queues, count| queues.beyond(0, &mut 1, count);
    assert_eq!(beyond(&mut queues, 6), (2, 2, Line::flat(0)));
    queues.push(0, &mut 1, &run(5, Line::flat(1), Line::flat(5))).ok().expect("few wavelets");
    assert_eq!(beyond(&mut queues, 2).0, 3);
    queues.book(0, 1, 5, Line::flat(20));
    assert_eq!(beyond(&mut queues, 2), (-2, 3, Line::flat(20)));
}

#[test]
fn the_last_wavelets_of_a_flight_come_late_wherever_its_runs_lie() {
    let mut queues = queues();
    let flight = |flight, last: Line| {
        let words = Words::same(Payload::UNKNOWN, 0);
        Incoming::new((words, 3), (Line::flat(10), last), (flight, Origin::default()), last)
    };
    // Flight 5 comes to all four queues in cycles 30, 31, 32 and 33, to the third and the fourth behind flight 4.
    queues.push(2, &mut 2, &flight(4, Line::flat(12))).ok().expect("few wavelets");
    let mut done = 0;
    while done < 4 {
        let mut n = 4 - done;
        let run = flight(5, Line { at: 30, slope: 1 }.from(done));
        queues.push(done, &mut n, &run).ok().expect("few wavelets");
        done += n;
    }
    // No sooner than in 32: that holds the first two up.
    queues.hold(0, 4, 5, Line::flat(32));
    let mut last = |input, index| {
        queues.split(input);
        queues.run(input, index).map(|run| (run.flight, run.last.at))
    };
    assert_eq!([0, 1].map(|input| last(input, 0)), [Some((5, 32)); 2]);
    assert_eq!([2, 3].map(|input| [last(input, 0), last(input, 1)]), [32, 33].map(|at| [Some((4, 12)), Some((5, at))]));
}

#[test]
fn queues_side_by_side_part_and_become_alike_again() {
    let mut queues = queues();
    // A run comes to all four, one cycle later to each, and to the third another one behind it.
    let first = run(2, Line { at: 10, slope: 1 }, Line { at: 11, slope: 1 });
    let mut n = 4;
    queues.push(0, &mut n, &first).ok().expect("few wavelets");
    queues.push(2, &mut 1, &run(1, Line::flat(30), Line::flat(30))).ok().expect("few wavelets");
    let mut alike = 4;
    assert_eq!((n, queues.head(0, &mut alike).map(|head| head.first)), (4, Some(Line { at: 10, slope: 1 })));
    assert_eq!(alike, 2);
    for (input, n) in [(0, 2), (2, 1), (3, 1)] {
        assert_eq!(queues.book(input, n, 2, Line { at: 40, slope: 1 }.from(input)), 0);
        assert!(queues.take(input, n, 2).is_some_and(|(_, is_part)| !is_part));
    }
    assert_eq!(queues.head(2, &mut 1).map(|head| head.first.at), Some(30));
    // The third takes one more in cycle 50: it still differs by what it took last, which the next run levels.
    assert_eq!(queues.book(2, 1, 1, Line::flat(50)), 2);
    assert!(queues.take(2, 1, 1).is_some());
    for (input, n) in [(0, 2), (2, 1), (3, 1)] {
        queues.push(input, &mut { n }, &first.along(input)).ok().expect("few wavelets");
        queues.book(input, n, 2, Line { at: 60, slope: 1 }.from(input));
    }
    let mut alike = 4;
    assert_eq!((queues.head(0, &mut alike).map(|head| head.count), alike), (Some(2), 4));
}

#[test]
fn a_flight_that_lands_late_delays_what_nothing_else_has_delayed() {
    // The last wavelets come in cycles 30, 31 and 32, 4 cycles later than if nothing but their senders had held them up.
    let line = |at| Line { at, slope: 1 };
    let origin = Origin { sender: 0, step: 1 };
    let sent = Incoming::new((Words::same(Payload::UNKNOWN, 0), 3), (line(20), line(30)), (0, origin), line(26));
    // The senders were 3 cycles late: they would have come in cycles 29, 30 and 31.
    let landed = |delay, n: &mut u32| {
        let mut incoming = sent;
        incoming.land(sent.lateness(0, delay, n));
        incoming
    };
    let incoming = landed(Line::flat(3), &mut 3);
    assert_eq!((incoming.last, incoming.flight), (line(30), LANDED));
    // 6, 5, 4 cycles late: all in cycle 32.
    let mut n = 3;
    let incoming = landed(Line { at: 6, slope: -1 }, &mut n);
    assert_eq!((incoming.last, n), (Line::flat(32), 3));
    // 5, 3, 1 cycles late: only the first one comes later than it did.
    let mut n = 3;
    let incoming = landed(Line { at: 5, slope: -2 }, &mut n);
    assert_eq!((incoming.last.at, n), (31, 1));
}

#[test]
fn runs_of_one_payload_join_where_their_words_go_on() {
    // Of PEs side by side that send three words each, the first words together, then the second ones: 0, 1, 2 and 3, then 4 to 7.
    let mut queues = queues();
    let words = |start| Words { payload: Payload::UNKNOWN, start, step: 1, pitch: 4 };
    for (input, n, start) in [(0, 1, 0), (1, 2, 1), (3, 1, 3)] {
        let run = Incoming::untimed(words(start), 3);
        queues.push(input, &mut { n }, &run).ok().expect("few wavelets");
    }
    let mut n = 4;
    queues.head(0, &mut n).expect("there is a run");
    let start = |queues: &Queues, input| queues.list.get(input).head.words.start;
    assert_eq!((n, [0, 1, 3].map(|input| start(&queues, input))), (4, [0, 1, 3]));
    // Of the third PE the words behind the first one are 6 and 10.
    let (taken, is_part) = queues.take(0, 4, 1).expect("there is a run");
    assert_eq!(queues.head(0, &mut n).map(|left| left.count), Some(2));
    assert_eq!((taken.count, is_part, n, start(&queues, 2)), (1, true, 4, 6));
}

#[test]
fn queues_that_were_used_a_turn_apart_are_so_turns_later() {
    let mut queues = queues();
    let mut use_first = |cycle| {
        queues.push(0, &mut 2, &run(1, Line::flat(cycle), Line::flat(cycle))).ok().expect("few wavelets");
        queues.book(0, 2, 1, Line { at: cycle, slope: 3 });
        queues.take(0, 2, 1).expect("it is there");
        queues.clone()
    };
    // The first two are used once a turn of 100 cycles, the others never.
    let (before, mut behind, late) = (use_first(40), use_first(140), use_first(241));
    let turn = |began| Turn { cycles: 100, began };
    let long = 1000;
    assert!(behind.are_empty() && behind.repeat(&before, turn(50), long));
    assert!(!late.repeat(&behind, turn(150), long) && !behind.repeat(&behind, turn(50), long));
    // The last wavelet is taken in cycle 143 of one turn and 244 of the other one: where a sender hears of it within 5 cycles, it does so by cycle 250.
    assert!(late.repeat(&behind, turn(150), 5) && !late.repeat(&behind, turn(150), 6));
    behind.pass_over(turn(50), 3);
    assert_eq!([0, 1, 2].map(|input| behind.list.get(input).last_at.at), [440, 443, 0]);
}
