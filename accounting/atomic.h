/* SPDX-License-Identifier: MIT */
/* The memory orders we use, by name; the only file that says memory_order.
 *
 * relaxed   statistics and owner-written words: no other access depends on it.
 * acquire   pairs with a release store of the same word: what was written before it is visible.
 * release   see acquire.
 * full      sequentially consistent. Used wherever an argument is of the form "either I see your write
 *           or you see mine" (Dekker); each such pair carries a tag [On], listed in ARCHITECTURE.md.
 *           On x86-64 every read-modify-write is full anyway; only full stores cost more.
 */
#ifndef ACCOUNTING_ATOMIC_H
#define ACCOUNTING_ATOMIC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef _Atomic uint64_t mc_word;
typedef _Atomic uint32_t mc_word32;
typedef _Atomic uint16_t mc_word16;

#define mc_load_relaxed(p) atomic_load_explicit((p), memory_order_relaxed)
#define mc_load_acquire(p) atomic_load_explicit((p), memory_order_acquire)
#define mc_load_full(p) atomic_load_explicit((p), memory_order_seq_cst)

#define mc_store_relaxed(p, v) atomic_store_explicit((p), (v), memory_order_relaxed)
#define mc_store_release(p, v) atomic_store_explicit((p), (v), memory_order_release)
#define mc_store_full(p, v) atomic_store_explicit((p), (v), memory_order_seq_cst)

#define mc_add_relaxed(p, v) atomic_fetch_add_explicit((p), (v), memory_order_relaxed)
#define mc_sub_relaxed(p, v) atomic_fetch_sub_explicit((p), (v), memory_order_relaxed)
#define mc_add_full(p, v) atomic_fetch_add_explicit((p), (v), memory_order_seq_cst)
#define mc_sub_full(p, v) atomic_fetch_sub_explicit((p), (v), memory_order_seq_cst)
#define mc_or_full(p, v) atomic_fetch_or_explicit((p), (v), memory_order_seq_cst)
#define mc_and_full(p, v) atomic_fetch_and_explicit((p), (v), memory_order_seq_cst)
#define mc_exchange_full(p, v) atomic_exchange_explicit((p), (v), memory_order_seq_cst)

/* One strong compare-and-swap; *expected receives what was found when it fails. */
#define mc_cas_full(p, expected, desired) \
	atomic_compare_exchange_strong_explicit((p), (expected), (desired), memory_order_seq_cst, memory_order_seq_cst)
#define mc_cas_relaxed(p, expected, desired) \
	atomic_compare_exchange_weak_explicit((p), (expected), (desired), memory_order_relaxed, memory_order_relaxed)
/* Thread-local hand-over to a signal handler of the same thread: no instruction, only the compiler. */
#define mc_compiler_fence() atomic_signal_fence(memory_order_seq_cst)

/* Raises *p to v; a statistic. */
static inline void mc_max_relaxed(mc_word *p, uint64_t v)
{
	uint64_t seen = mc_load_relaxed(p);

	while (seen < v && !mc_cas_relaxed(p, &seen, v))
		;
}

/* Tells the core that we spin. */
static inline void mc_spin_hint(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

#endif
