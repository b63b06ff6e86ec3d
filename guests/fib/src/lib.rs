//! Fibonacci numbers by naive recursion. The work grows with the answer, which makes it a good
//! measure of arithmetic and a bad way to get Fibonacci numbers.

/// The largest argument whose answer fits an `i64`.
const N_MAX: i32 = 92;

/// The `n`-th Fibonacci number; traps if `n` is negative or the answer does not fit an `i64`.
#[unsafe(no_mangle)]
pub extern "C" fn fib(n: i32) -> i64 {
    if !(0..=N_MAX).contains(&n) {
        // A trap says more than a wrong number would.
        core::arch::wasm32::unreachable();
    }
    recurse(n)
}

fn recurse(n: i32) -> i64 {
    if n < 2 { i64::from(n) } else { recurse(n - 1) + recurse(n - 2) }
}
