//! Settings of the C library's allocator.
//!
//! This file may use `unsafe`: `mallopt` is a plain C call with two integers and has no safe wrapper in the
//! crates we use. It is called once, before any other thread exists.
#![allow(unsafe_code)]

/// Keeps glibc to one arena. By default each thread may get its own (64 MiB of address space, and pages that
/// are never given back): with a thread per connection that is most of the memory of an idle connection.
#[cfg(target_env = "gnu")]
pub fn one_arena() {
    /// `M_ARENA_MAX` of glibc's `<malloc.h>`.
    const ARENA_MAX: std::ffi::c_int = -8;
    unsafe extern "C" {
        fn mallopt(param: std::ffi::c_int, value: std::ffi::c_int) -> std::ffi::c_int;
    }
    // SAFETY: `mallopt` has this signature in every glibc; it takes no pointers, and an unknown parameter is
    // answered with 0 and no effect.
    let _ = unsafe { mallopt(ARENA_MAX, 1) };
}

/// Other C libraries (musl) have one arena to begin with.
#[cfg(not(target_env = "gnu"))]
pub fn one_arena() {}
