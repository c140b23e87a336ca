// What Thumb code on ARMv6 calls for atomic operations, as it has no instructions for them: LLVM leaves them to functions
// with these names. Here they are with the full instruction set, whose ldrex and strex every Pi's processor has.
//
// Rust's compiler_builtins has the same (sync/thumbv6k.rs) for targets that are Thumb from the start.

// The name is the compiler's own, so it is given to the linker only.
#define NAMED(name, bytes) __asm__("__sync_" #name "_" #bytes)

// DIRECT(name, bytes, type, result): one that C's own atomics know.
#define DIRECT(name, bytes, type, result)                                     \
    type name##_##bytes(volatile type *at, type value) NAMED(name, bytes);    \
    type name##_##bytes(volatile type *at, type value) { return result; }

// LOOP(name, bytes, type, next): the others, by way of exchanging until nobody came between.
#define LOOP(name, bytes, type, next)                                                                     \
    type name##_##bytes(volatile type *at, type value) NAMED(fetch_and_##name, bytes);                    \
    type name##_##bytes(volatile type *at, type value) {                                                  \
        type old = __atomic_load_n(at, __ATOMIC_RELAXED);                                                 \
        while (!__atomic_compare_exchange_n(at, &old, next, 0, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {}    \
        return old;                                                                                       \
    }

#define ALL(bytes, type, plus_minus)                                                                      \
    DIRECT(fetch_and_add, bytes, type, __atomic_fetch_add(at, value, __ATOMIC_SEQ_CST))                   \
    DIRECT(fetch_and_sub, bytes, type, __atomic_fetch_sub(at, value, __ATOMIC_SEQ_CST))                   \
    DIRECT(fetch_and_and, bytes, type, __atomic_fetch_and(at, value, __ATOMIC_SEQ_CST))                   \
    DIRECT(fetch_and_or, bytes, type, __atomic_fetch_or(at, value, __ATOMIC_SEQ_CST))                     \
    DIRECT(fetch_and_xor, bytes, type, __atomic_fetch_xor(at, value, __ATOMIC_SEQ_CST))                   \
    DIRECT(fetch_and_nand, bytes, type, __atomic_fetch_nand(at, value, __ATOMIC_SEQ_CST))                 \
    DIRECT(lock_test_and_set, bytes, type, __atomic_exchange_n(at, value, __ATOMIC_SEQ_CST))              \
    LOOP(max, bytes, type, (plus_minus)old > (plus_minus)value ? old : value)                             \
    LOOP(min, bytes, type, (plus_minus)old < (plus_minus)value ? old : value)                             \
    LOOP(umax, bytes, type, old > value ? old : value)                                                    \
    LOOP(umin, bytes, type, old < value ? old : value)                                                    \
    type swap_##bytes(volatile type *at, type old, type value) NAMED(val_compare_and_swap, bytes);        \
    type swap_##bytes(volatile type *at, type old, type value) {                                          \
        __atomic_compare_exchange_n(at, &old, value, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);              \
        return old;                                                                                       \
    }

ALL(1, unsigned char, signed char)
ALL(2, unsigned short, short)
ALL(4, unsigned int, int)
ALL(8, unsigned long long, long long)

void barrier(void) __asm__("__sync_synchronize");
void barrier(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
