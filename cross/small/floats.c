// What Thumb code calls for floating-point numbers and neither musl nor zig's compiler-rt has: the C23 functions that
// LLVM makes of f64::min, max and clamp. Of two numbers a number: the other one of a NaN; -0 is below +0.

#define FUNCTIONS(type, suffix)                                                                           \
    type fminimum_num##suffix(type a, type b);                                                            \
    type fmaximum_num##suffix(type a, type b);                                                            \
    type fminimum_num##suffix(type a, type b) {                                                           \
        if (a != a) return b;                                                                             \
        if (b != b) return a;                                                                             \
        if (a == b) return __builtin_signbit(a) ? a : b;                                                  \
        return a < b ? a : b;                                                                             \
    }                                                                                                     \
    type fmaximum_num##suffix(type a, type b) {                                                           \
        if (a != a) return b;                                                                             \
        if (b != b) return a;                                                                             \
        if (a == b) return __builtin_signbit(a) ? b : a;                                                  \
        return a < b ? b : a;                                                                             \
    }

FUNCTIONS(double, )
FUNCTIONS(float, f)
