//! Memory that an idle connection would hold for nothing: allocator arenas and used stack.
//!
//! This file may use `unsafe`: `mallopt` is a C call without a safe wrapper in the crates we use, and giving
//! back stack pages needs `madvise`, which is unsafe because it can take memory that somebody still uses. Each
//! use says why it cannot.
#![allow(unsafe_code)]

/// Keeps glibc to one arena, and to giving large blocks back. By default each thread may get an arena of its own
/// (64 MiB of address space, and pages that are never given back): with a thread per connection that is most of the
/// memory of an idle connection. And by default a large block that was freed once (a password's 19 MiB) makes glibc
/// keep all later ones of that size.
#[cfg(target_env = "gnu")]
pub fn one_arena() {
    /// `M_ARENA_MAX` of glibc's `<malloc.h>`.
    const ARENA_MAX: std::ffi::c_int = -8;
    /// `M_MMAP_THRESHOLD`; setting it keeps it where it is, at its default.
    const MMAP_THRESHOLD: std::ffi::c_int = -3;
    unsafe extern "C" {
        fn mallopt(param: std::ffi::c_int, value: std::ffi::c_int) -> std::ffi::c_int;
    }
    for (param, value) in [(ARENA_MAX, 1), (MMAP_THRESHOLD, 128 * 1024)] {
        // SAFETY: `mallopt` has this signature in every glibc; it takes no pointers, and an unknown parameter is
        // answered with 0 and no effect.
        let _ = unsafe { mallopt(param, value) };
    }
}

/// Other C libraries (musl) have one arena to begin with.
#[cfg(not(target_env = "gnu"))]
pub fn one_arena() {}

/// How far below the caller's frame the stack is left alone: the frames of this call and of `madvise` (which is a few
/// instructions with nothing to call, once optimised), and the 128 bytes below the stack pointer that the x86-64 ABI lets
/// a leaf function use. A page more of it would be held by each idle connection.
const STACK_IN_USE: usize = if cfg!(debug_assertions) { 4096 } else { 1024 };

/// The upper end of a thread's stack, as far as its entry function can see it.
#[derive(Clone, Copy)]
pub struct StackTop(usize);

impl StackTop {
    /// To be called in the thread's outermost function.
    #[inline(never)]
    pub fn here() -> StackTop {
        let marker = 0_u8;
        StackTop(std::ptr::from_ref(&marker).addr())
    }

    /// Gives the pages that deep calls have used, and nobody uses now, back to the kernel. A handshake goes far
    /// deeper than the read that a session then waits in for months. `stack` is the size the thread was started
    /// with.
    #[inline(never)]
    pub fn give_back_unused(self, stack: usize) {
        const PAGE: usize = 4096;
        let marker = 0_u8;
        let here = std::ptr::from_ref(&marker).addr();
        // The entry function's frame lies a little below the real top (thread descriptor, TLS, start routine:
        // less than four pages), so the real bottom lies at or above this address plus those pages. Pages of
        // larger machines (16 KiB on a Pi 5) are a multiple of ours; the kernel refuses a range that is not
        // aligned to its own, which is then simply not given back.
        let bottom = (self.0 - stack + 4 * PAGE).next_multiple_of(PAGE);
        let end = (here - STACK_IN_USE) & !(PAGE - 1);
        if end <= bottom {
            return;
        }
        let from = std::ptr::without_provenance_mut::<std::ffi::c_void>(bottom);
        // SAFETY: the range lies in this thread's own stack, between its lower end and `STACK_IN_USE` below the
        // deepest live frame (`here` is in the innermost one). Nothing below the stack pointer is live in Rust, so what
        // `DontNeed` drops is dead data, and the pages read as zeros when calls reach them again.
        let _ = unsafe { rustix::mm::madvise(from, end - bottom, rustix::mm::Advice::LinuxDontNeed) };
    }
}
