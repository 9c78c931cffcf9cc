//! Nothing on the path from a tick to an order's bytes allocates once it is warm.

#![allow(unsafe_code, reason = "an allocator that counts must be one")]

use crate::world::{Around, Part, World};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is handed on to the system's allocator unchanged; the count touches no memory it manages.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's contract is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count() -> u64 {
    COUNT.with(Cell::get)
}

/// Allocations inside our rooms, on the hot path and beside it.
#[derive(Debug, Default)]
struct Census {
    hot: u64,
    cold: u64,
    calls: u64,
}

impl Around for Census {
    fn around<T>(&mut self, part: Part, work: impl FnOnce() -> T) -> T {
        let before = count();
        let result = work();
        let took = count() - before;
        if part != Part::Beside {
            self.hot += took;
            self.calls += 1;
        } else {
            self.cold += took;
        }
        result
    }
}

#[test]
fn the_path_from_tick_to_order_allocates_nothing_once_warm() {
    let mut world = World::new(3, Census::default());
    world.arm();
    world.run_for(20_000);
    world.around = Census::default();
    let before = *world.engine.counts();
    world.run_for(60_000);
    let (census, counts) = (&world.around, world.engine.counts());
    assert!(counts.placed > before.placed + 20, "it traded: {counts:?}");
    assert!(counts.fills > before.fills + 5, "and was filled: {counts:?}");
    assert!(census.calls > 10_000, "on many ticks: {census:?}");
    assert_eq!(census.hot, 0, "allocations on the hot path: {census:?}");
    println!("{} hot calls without an allocation; {} allocations beside them", census.calls, census.cold);
}

#[test]
fn the_count_would_notice() {
    let before = count();
    std::hint::black_box(Vec::<u8>::with_capacity(16));
    assert_eq!(count() - before, 1);
}
