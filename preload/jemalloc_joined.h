/* SPDX-License-Identifier: MIT */
/*
 * The seam between jemalloc 5.3.0 and us. tools/join-jemalloc makes one object of libjemalloc_pic.a
 * in which its calls into the page layer and into libc lead to the functions declared in parts 2 and 3 here, which preload/ defines. That the names
 * exist is checked by configure (join-jemalloc --check) and the linker (--no-undefined); that the
 * prototypes are right by nobody: they are jemalloc 5.3.0's.
 *
 * jemalloc starts at the first call that allocates; its constructor is left out.
 * Page functions of jemalloc answer true for *failure*. All lengths and addresses are multiples of
 * the page size.
 */
#ifndef PRELOAD_JEMALLOC_JOINED_H
#define PRELOAD_JEMALLOC_JOINED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <malloc.h>
#include <pthread.h>

/*
 * 1. what we get: jemalloc's public interface, malloc and its family included, under its own names: it is
 * exported as it stands, so that no wrapper is paid for.
 */

void *mallocx(size_t size, int flags);
void *rallocx(void *ptr, size_t size, int flags);
size_t xallocx(void *ptr, size_t size, size_t extra, int flags);
size_t sallocx(const void *ptr, int flags);
void dallocx(void *ptr, int flags);
void sdallocx(void *ptr, size_t size, int flags);
size_t nallocx(size_t size, int flags);

int mallctl(const char *name, void *oldp, size_t *oldlenp, void *newp, size_t newlen);
int mallctlnametomib(const char *name, size_t *mibp, size_t *miblenp);
int mallctlbymib(const size_t *mib, size_t miblen, void *oldp, size_t *oldlenp, void *newp, size_t newlen);
void malloc_stats_print(void (*write_cb)(void *, const char *), void *cbopaque, const char *opts);

/* Exported under jemalloc's own names: programs define or set these two. */
extern const char *malloc_conf;
extern void (*malloc_message)(void *cbopaque, const char *s);

/*
 * Ours to define (hidden); read by jemalloc after everything the user says, so it wins. prof:false
 * is required but with jemalloc_sample.c in front of it: the profiler's libm and unwinder calls are stubs. hpa:false too:
 * the huge page allocator maps pages by itself, past the page layer.
 */
extern const char *malloc_conf_2_conf_harder;

/* What it is where call sites are sampled: with the profiler on. */
extern const char jemalloc_conf_profile[];

/* internals we call */

/*
 * What the functions of part 2 stand in front of. pages_map: addr NULL or a wish that is either met
 * or answered by NULL; *commit says whether the pages are wanted usable; where the system
 * overcommits it comes back true always. With vm.overcommit_memory=2 uncommitted pages are
 * PROT_NONE. pages_unmap aborts or complains when munmap fails.
 */
void *je_pages_map(void *addr, size_t size, size_t alignment, bool *commit);
void je_pages_unmap(void *addr, size_t size);

/* Map anew, usable or PROT_NONE. Where the system overcommits both answer true and do nothing. */
bool je_pages_commit(void *addr, size_t size);
bool je_pages_decommit(void *addr, size_t size);

/* MADV_DONTNEED, and MADV_FREE; false when done. */
bool je_pages_purge_forced(void *addr, size_t size);
bool je_pages_purge_lazy(void *addr, size_t size);

/*
 * As read by jemalloc's start (je_pages_boot, before its first mapping): vm.overcommit_memory is 0
 * or 1 (true) or 2 (false), file-local in jemalloc; the system's transparent huge page mode.
 */
extern bool je_os_overcommits;

enum je_thp_mode {
	JE_THP_DEFAULT = 0, /* [madvise] */
	JE_THP_ALWAYS = 1,  /* [always] */
	JE_THP_NEVER = 2,   /* [never] */
	JE_THP_NOT_SUPPORTED = 3,
};
extern enum je_thp_mode je_init_system_thp_mode;

/* The first thing of jemalloc's start; what comes between it and mc_real_pthread_atfork sets errno to 0. */
void je_sc_boot(void *data);

/* The same as jemalloc.o calls it. */
void mc_heap_start(void *data);

/*
 * Sets up the calling thread's cache at its first allocation; true: failed, which jemalloc answers by
 * crashing later.
 */
bool je_tsd_tcache_enabled_data_init(void *tsd);

/* The same as tsd.o calls it: charges made meanwhile must not be refused. */
bool mc_thread_setup(void *tsd);

/* Gives the cache of a thread that ends back, its own memory last: that lies in arena 0. */
void je_tcache_cleanup(void *tsd);

/* The same as tsd.o calls it. */
void mc_thread_cleanup(void *tsd);

/*
 * The last place where pages for an allocation of `size` are looked for: retained address space, then new.
 * NULL fails the allocation (or, with `expand`, its growth in place). Whoever waits for it holds the lock
 * for growing that it takes.
 */
void *je_ecache_alloc_grow(void *tsdn, void *pac, void *ehooks, void *ecache, void *expand, size_t size,
			   size_t alignment, bool zero, bool guarded);

/* The same as pac.o calls it. */
void *mc_ecache_alloc_grow(void *tsdn, void *pac, void *ehooks, void *ecache, void *expand, size_t size,
			   size_t alignment, bool zero, bool guarded);

/*
 * Pages that are free but still committed go into a cache (dalloc) and come out again for an allocation (alloc;
 * NULL where nothing fits) or when they are decommitted. An extent's size lies at JE_EXTENT_SIZE_AT, above twelve
 * bits of something else.
 */
#define JE_EXTENT_SIZE_AT 16
void *je_ecache_alloc(void *tsdn, void *pac, void *ehooks, void *ecache, void *expand, size_t size, size_t alignment,
		      bool zero, bool guarded);
void je_ecache_dalloc(void *tsdn, void *pac, void *ehooks, void *ecache, void *extent);

/*
 * Takes the extent that was freed first out of a cache that has more than `keep` pages, together with what is free
 * beside it; NULL: enough. A purge takes all it wants in this way, then decommits one after the other.
 */
void *je_ecache_evict(void *tsdn, void *pac, void *ehooks, void *ecache, size_t keep);

/* The same as pac.o calls them. */
void *mc_ecache_alloc(void *tsdn, void *pac, void *ehooks, void *ecache, void *expand, size_t size, size_t alignment,
		      bool zero, bool guarded);
void mc_ecache_dalloc(void *tsdn, void *pac, void *ehooks, void *ecache, void *extent);
void *mc_ecache_evict(void *tsdn, void *pac, void *ehooks, void *ecache, size_t keep);

/*
 * The slow paths of malloc and free as jemalloc.o enters them, with no lock of jemalloc's held; inside jemalloc
 * the same functions are called under locks. tsdn NULL: jemalloc for itself. Each may be called again with the
 * same arguments when it failed.
 */
void *je_large_malloc(void *tsdn, void *arena, size_t size, bool zero);
void *je_arena_malloc_hard(void *tsdn, void *arena, size_t size, unsigned index, bool zero);
void *je_tcache_alloc_small_hard(void *tsdn, void *arena, void *tcache, void *bin, unsigned index, bool *ret_success);
void *je_arena_palloc(void *tsdn, void *arena, size_t size, size_t alignment, bool zero, void *tcache);
void *je_arena_ralloc(void *tsdn, void *arena, void *old, size_t old_size, size_t size, size_t alignment, bool zero,
		      void *tcache, void *hook_args);
void je_large_dalloc(void *tsdn, void *extent);
void je_tcache_bin_flush_small(void *tsd, void *tcache, void *bin, unsigned index, unsigned stay);
void je_tcache_bin_flush_large(void *tsd, void *tcache, void *bin, unsigned index, unsigned stay);

/* The same as jemalloc.o calls them (jemalloc_slow.c). */
void *mc_large_malloc(void *tsdn, void *arena, size_t size, bool zero);
void *mc_arena_malloc_hard(void *tsdn, void *arena, size_t size, unsigned index, bool zero);
void *mc_tcache_alloc_small_hard(void *tsdn, void *arena, void *tcache, void *bin, unsigned index, bool *ret_success);
void *mc_arena_palloc(void *tsdn, void *arena, size_t size, size_t alignment, bool zero, void *tcache);
void *mc_arena_ralloc(void *tsdn, void *arena, void *old, size_t old_size, size_t size, size_t alignment, bool zero,
		      void *tcache, void *hook_args);
void mc_large_dalloc(void *tsdn, void *extent);
void mc_tcache_bin_flush_small(void *tsd, void *tcache, void *bin, unsigned index, unsigned stay);
void mc_tcache_bin_flush_large(void *tsd, void *tcache, void *bin, unsigned index, unsigned stay);

/*
 * Decommits all dirty extents of an arena. tsdn NULL is good: the thread then needs no cache of its own. Not under
 * jemalloc's locks; what another thread is purging already is left to it.
 */
void je_arena_decay(void *tsdn, void *arena, bool is_background_thread, bool all);

/* What a thread has of its own: the tsdn of its calls, made at its first allocation, or by this, without a cache. Not
 * in a handler. NULL instead costs 60 ns for each extent. */
extern __thread char je_tsd_tls[] __attribute__((tls_model("initial-exec")));
void *je_tsd_fetch_slow(void *tsd, bool minimal);

/* Gives what this thread has cached back to the arenas. Only where the byte at JE_TSD_TCACHE_ENABLED_AT of its own is not
 * 0. By way of mallctl it would make the tables of that first, 400 KiB. */
#define JE_TSD_TCACHE_ENABLED_AT 0
void je_tcache_flush(void *tsd);
extern void *_Atomic je_arenas[];
unsigned je_narenas_total_get(void);

/*
 * The profiler's places (jemalloc_sample.c): with prof:true jemalloc asks for a stack (tctx_create; JE_PROF_NOT_SAMPLED:
 * not this one) when a thread has allocated as many bytes as new_event_wait said, and te_event_trigger follows in the
 * same call, when the block is counted, but where alloc_rollback comes instead. A large block's extent keeps what
 * large_prof_info_set says, and free hands it back.
 */
#define JE_PROF_NOT_SAMPLED ((void *)1)
struct je_prof_info {
	uint64_t time;
	void *tctx;
	size_t size;
};
void je_large_prof_info_set(void *extent, void *tctx, size_t size);
void je_large_prof_info_get(void *tsd, void *extent, struct je_prof_info *info, bool reset_recent);
void je_te_event_trigger(void *tsd, void *counters); /* first in *counters, a bool: allocated, not freed */
void je_arena_dalloc_small(void *tsdn, void *p);
void je_sdallocx(void *p, size_t size, int flags); /* sdallocx itself */
extern unsigned je_nhbins;

/* Where a thread has its cache and the cache its bins; where the map of addresses has its root: 2^18 pointers, a GiB
 * each, to 2^18 words, a page each. */
#define JE_TSD_TCACHE_AT 0x358
#define JE_TCACHE_BINS_AT 8
#define JE_EMAP_ROOT_AT 0x78
extern char je_arena_emap_global[];

/* The same as jemalloc.o, arena.o and thread_event.o call them; dalloc_promoted as all but arena.o do. */
void *mc_prof_tctx_create(void *tsd);
void mc_te_event_trigger(void *tsd, void *counters);
void mc_arena_dalloc_promoted(void *tsdn, void *p, void *tcache, bool slow);
void mc_large_prof_info_get(void *tsd, void *extent, struct je_prof_info *info, bool reset_recent);
void mc_prof_free_sampled_object(void *tsd, size_t usable, struct je_prof_info *info);
void mc_prof_alloc_rollback(void *tsd, void *tctx);
uint64_t mc_prof_sample_new_event_wait(void *tsd);

/* What jemalloc hands to pthread_atfork: call them in this order around the real fork. */
void je_jemalloc_prefork(void);
void je_jemalloc_postfork_parent(void);
void je_jemalloc_postfork_child(void);

/* 2. what we owe: the page layer */

/*
 * Heap address space. Called from extent_alloc_mmap only, for arenas: with *commit false when
 * jemalloc grows its retained space (the rule, with retain:true; commits follow through
 * mc_pages_commit), with *commit true when it wants pages usable at once: then the charge belongs
 * here. NULL refuses. *commit must come back as it went in, or jemalloc believes uncommitted pages
 * committed and never calls mc_pages_commit for them.
 */
void *mc_pages_map(void *addr, size_t size, size_t alignment, bool *commit);

/*
 * Heap address space given back: the excess of an aligned mapping, and all of an arena that is
 * destroyed. What of it is committed at this moment only the ledger knows.
 */
void mc_pages_unmap(void *addr, size_t size);

/*
 * Heap pages become usable, cease to be. true refuses: a refused commit makes the allocation fail,
 * a refused decommit makes jemalloc purge instead and keep the pages committed. Both are called
 * whatever vm.overcommit_memory says; the real je_pages_commit must be called where
 * je_os_overcommits is false. Pages committed must read as zeros when they were decommitted before.
 */
bool mc_pages_commit(void *addr, size_t size);
bool mc_pages_decommit(void *addr, size_t size);

/* The pages stay committed, their contents go; forced, they read as zeros then. true: not done. */
bool mc_pages_purge_forced(void *addr, size_t size);
bool mc_pages_purge_lazy(void *addr, size_t size);

/*
 * jemalloc's metadata: blocks of 2 MiB and more, never given back but by arena.<i>.destroy, touched
 * little by little. Called before anything else of ours may have run. NULL makes jemalloc's start
 * fail. *commit comes in true and must leave true, *zero must leave true when pages read as zeros
 * (fresh mappings do). mc_base_unmap: false when unmapped, true when it was kept; jemalloc then
 * purges it through its own page calls.
 */
void *mc_base_map(void *addr, size_t size, size_t alignment, bool *zero, bool *commit);
bool mc_base_unmap(void *addr, size_t size);

/* 3. what we owe: libc's calls as jemalloc makes them */

/*
 * jemalloc's calls of the names this library wraps; they must reach the kernel and nothing of ours,
 * and work before any constructor ran. None of them may allocate.
 */
void *mc_real_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset);
int mc_real_munmap(void *addr, size_t length);
int mc_real_madvise(void *addr, size_t length, int advice);
int mc_real_mprotect(void *addr, size_t length, int prot);

/* Past libfaketime and its kind, whose first call allocates: jemalloc asks for the time with locks held. */
int mc_real_clock_gettime(clockid_t clock, struct timespec *ret);
int mc_real_gettimeofday(struct timeval *ret, void *zone);

/* The same of those that jemalloc's background threads wait with. Each wait may end for no reason; attr is NULL; the
 * time is the day's. */
int mc_real_pthread_cond_init(pthread_cond_t *cond, const pthread_condattr_t *attr);
int mc_real_pthread_cond_signal(pthread_cond_t *cond);
int mc_real_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);
int mc_real_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until);

/* Called only when a program selects dss for an arena: (void *)-1 keeps the heap on mmap. */
void *mc_real_sbrk(intptr_t increment);

/*
 * jemalloc asks once for RTLD_NEXT's "pthread_create", when background_thread is set or asked for.
 * NULL is a good answer: it then takes mc_real_pthread_create. jemalloc's background threads are
 * threads like the helper: whoever must run without any refuses here with EAGAIN.
 */
void *mc_real_dlsym(void *handle, const char *name);
int mc_real_pthread_create(pthread_t *ret_thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg);

/*
 * Called once at the end of jemalloc's start, with the three je_jemalloc_*fork functions, from
 * whoever allocates first (often the dynamic linker, before any constructor). libc runs prepare
 * handlers in the reverse order of registration, so jemalloc's locks would be taken after ours.
 * Answer 0 without registering and call the three from our own handlers to have the order in hand.
 * Not 0 makes jemalloc's start fail.
 */
int mc_real_pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void));

#endif
