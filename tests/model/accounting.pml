/* accounting.pml - check the accounting protocol (charge, uncharge, drain, settle, recount, join, rm) against every interleaving. */
/* SPDX-License-Identifier: MIT */

/*
 * Every compare-and-swap loop whose new value depends on that one word alone is a single step here, since a loop that retries is
 * an atomic read-modify-write.  Whatever the code reads from a second word is a step of its own.  Step names (C1, U3, R2 ...) are
 * those of the protocol and of the code.  Memory is sequentially consistent: the code must use seq_cst or argue for less.
 *
 * Death, stop and exec come from Fate, between any two steps of their victim.  A slow process needs no modelling: the scheduler
 * may leave anyone out for as long as it likes; a stopped one is left out for ever, and the others must still reach their end.
 */

/* ---- what one configuration may set ------------------------------------------------------------------------------------- */
#ifndef NPROC			/* processes that are or become members */
#define NPROC 2
#endif
#ifndef NA			/* member slots; each has one account */
#define NA NPROC
#endif
#ifndef NP			/* pools: 0 is the root, 1 and 2 its leaves */
#define NP 2
#endif
#ifndef PREJOINED		/* slots that are LIVE at the start, owned by the process of the same number */
#define PREJOINED NA
#endif
#ifndef OPS0			/* calls each process makes, each a free choice of charge and uncharge */
#define OPS0 1
#endif
#ifndef OPS1
#define OPS1 1
#endif
#ifndef OPS2
#define OPS2 1
#endif
#ifndef H0			/* held and stock at the start */
#define H0 0
#endif
#ifndef H1
#define H1 0
#endif
#ifndef H2
#define H2 0
#endif
#ifndef S0
#define S0 0
#endif
#ifndef S1
#define S1 0
#endif
#ifndef S2
#define S2 0
#endif
#ifndef L0			/* the leaf each process belongs in */
#define L0 1
#endif
#ifndef L1
#define L1 1
#endif
#ifndef L2
#define L2 (NP - 1)
#endif
#ifndef MAX0
#define MAX0 3
#endif
#ifndef MAX1
#define MAX1 3
#endif
#ifndef MAX2
#define MAX2 3
#endif
#ifndef KILLS			/* how often fate may strike, each kind */
#define KILLS 0
#endif
#ifndef STOPS
#define STOPS 0
#endif
#ifndef EXECS
#define EXECS 0
#endif
#ifndef CRASHES			/* of the daemon; a new one may or may not come */
#define CRASHES 0
#endif
#ifndef TAKEOVERS		/* from a recounter that is merely slow; from one that is gone it is always allowed */
#define TAKEOVERS 0
#endif
#ifndef DAEMON
#define DAEMON 1
#endif
#ifndef DRAINS			/* drains the daemon makes by itself */
#define DRAINS 0
#endif
#ifndef RECOUNTS		/* recounts the daemon makes for no reason */
#define RECOUNTS 0
#endif
#ifndef JOIN			/* slots are claimed, freed and claimed again; accounts change leaf */
#define JOIN 0
#endif
#ifndef RMS			/* rm + mkdir of leaf NP-1 by the daemon */
#define RMS 0
#endif
#ifndef MKDIR			/* leaf NP-1 is not there yet and is made by the daemon */
#define MKDIR 0
#endif
#ifndef ADJUSTS			/* adjustments the daemon makes of anybody's account, each a free choice of up and down */
#define ADJUSTS 0
#endif
#ifndef SELFADJ			/* calls may also be adjustments of the own account */
#define SELFADJ 0
#endif
#ifndef RELABELS		/* times that the daemon makes an account another group's */
#define RELABELS 0
#endif
#ifndef REFILL			/* a new image frees its account and claims it anew, maybe for another group; not with JOIN */
#define REFILL 0
#endif
#ifndef SETMAX			/* the daemon lowers MAX1 to this */
#define SETMAX 0
#endif
#ifndef MUTATE
#define MUTATE 0
#endif

/* ---- seeded mistakes: -DMUTATE=<number>, each must be caught -------------------------------------------------------------- */
#define DOWN_IGNORES_EPOCH	1	/* subtracts from a pool that a recount has already put right */
#define C5_IGNORES_EPOCH	2	/* holds what a recount has wiped from the pools */
#define SETTLE_NO_RECOUNT	3	/* open != 0, but settled as if nothing had been in flight */
#define R3_KEEPS_STOCK		4	/* counts held, leaves the stock */
#define MARK_NEVER_RAISED	5	/* the claimed account lies above the high-water mark */
#define R4_IGNORES_EPOCH	6	/* a recounter that was superseded writes its sums all the same */
#define U2_AFTER_U3		7	/* open is raised only after the account has given up what the pools still count */
#define ADOPT_NO_RECOUNT	8	/* a new daemon forgets what the old one had open */
#define TRUST_STOCKED_FLAG	9	/* a refused charger drains only if a flag says that stocks exist */
#define TWO_SETTLERS		10	/* after exec the new image marks its old slot DEAD, and the daemon settles DEAD slots too */
#define DRAIN_TRUSTS_LEAF	11	/* leaf of a drained account is not read again after D2 */
#define RM_NO_RECOUNT		12	/* a pool slot is used again in the epoch in which it was freed */
#define JOIN_NO_REREAD		13	/* join does not look at the group again after LIVE */
#define REAP_LIVE_ONLY		14	/* who dies between CLAIMED and LIVE is never reaped */
#define C4R_IGNORES_EPOCH	15	/* undo below a refusing level subtracts in another epoch */
#define NO_TAKEOVER		16	/* waits for a recounter that is stopped */
#define C4_NO_REREAD		17	/* max is not read again after the addition */
#define DOWN_SKIPS_BUSY		18	/* takes busy for "already counted" in its own epoch too */
#define OPEN_CLEARED_EARLY	19	/* a new image stores open = 0 before its recount */
#define R1_NO_BUMP		20	/* a takeover goes on in the epoch of the one it takes over from */
#define JOIN_NO_GENERATION	21	/* join compares the state of the group, not its generation */
#define NO_STALE_RULE		22	/* an owner does not lift its empty account to the present epoch */
#define NO_DRAIN		23	/* refused without looking for stocks */
#define MKDIR_STORES		24	/* mkdir stores the word of the new pool, though a recount may have marked it */
#define MKDIR_EPOCH_FIRST	25	/* mkdir reads the epoch before it raises the mark */
#define R4_READS_MARK_AGAIN	26	/* R4 goes on to pools that R2 has not visited */
#define R2_OLDER_ONLY		27	/* R2 takes a pool made in its own epoch for a sign that it was superseded */

#define MOVE_WITHOUT_WISH	28	/* only the mover knows that he moves an account */
#define LABEL_STORED		29	/* L1 stores: the account may have moved, or be another's, since it was looked at */
#define U3_READS_GROUP_FIRST	30	/* uncharge reads the group, then swaps the word */
#define C3_READS_GROUP_FIRST	31	/* charge reads the group, then the epoch */
#define S2_READS_GROUP_FIRST	32	/* settle reads the group, then swaps the word */
#define A1_READS_GROUP_FIRST	33	/* an adjustment downwards reads the group, then swaps the word */
#define L1_KEEPS_GENERATION	34	/* a drainer cannot tell that the account has moved */
#define L1_AFTER_R3		35	/* the label changes when the account was counted */
#define A1_BLIND		36	/* A1 sets what is held, whatever it is by now */
#define ADJUST_NO_GENERATION	37	/* an adjustment does not look whether the account was claimed anew */
#define FREE_KEEPS_GENERATION	38	/* only claiming raises the generation */
#define FREE_TRUSTS_SETTLE	39	/* frees without looking whether somebody has adjusted it since S2 */
#define CLAIM_FORGETS		40	/* J6 zeroes what an adjustment has just put in, and the pools keep it */
#define ADJUST_LEAVES_IT	41	/* what was put into a free account stays there */
#define ADJUST_TRUSTS_LEAF	42	/* leaf of an account adjusted downwards, without a look at the generation */
#define FREE_BEFORE_UNLISTED	43	/* the account is taken off its member's list only when it has been emptied */
#define TAKE_OVER_DROPS_WISH	44	/* who takes a recount over does not carry out the wish */

/* ---- not mistakes: variations that must pass, so that the code need not fear them: -DVARY=<number> ------------------------ */
#ifndef VARY
#define VARY 0
#endif
#define CLAIM_READS_EPOCH_FIRST	1	/* claim reads the epoch before it raises the mark; the stale rule makes up for it */
#define SETTLE_CLEARS_OPEN_FIRST 2	/* the daemon clears member.open before the recount; its own open keeps the trace */
#define R3_LEAF_AFTER		3	/* R3 reads the leaf after the CAS; an account that held anything cannot be freed while its pools are busy */

/* ---- the segment ---------------------------------------------------------------------------------------------------------- */
#define NONE	7
#define EM	16		/* epochs count modulo this */
#define EPOCH0	(EM - 2)	/* near the end, so that they wrap on the way; R1 asserts that no word can look younger than it is */
#define DMN	NA		/* index of the daemon's open counter */
#define DID	NPROC		/* the daemon as an actor */

#define AGE(a, b)	(((b) + EM - (a)) % EM)
#define OLDER(a, b)	(AGE(a, b) != 0 && AGE(a, b) < EM / 2)
#define MOVES	(RELABELS > 0)
#define ANYBODY	(ADJUSTS > 0)			/* somebody else changes what an account holds */
#define ADJUSTING (ADJUSTS > 0 || SELFADJ)
#define META	(JOIN || MOVES || ADJUSTING || REFILL)	/* accounts have a generation */
#define LEAVES	(JOIN || MOVES || REFILL)		/* accounts change leaf */
#define PARENT(p)	((p) == 0 -> NONE : 0)

bool	g_rec;			/* G = recounting | epoch */
byte	g_ep;
bool	pb[NP];			/* pool word = busy | epoch | usage */
byte	pe[NP], pu[NP], mx[NP];
byte	ae[NA], hd[NA], st[NA];	/* account word = epoch | held | stock */
byte	aleaf[NA];		/* account meta word = generation | leaf */
byte	open[NA + 1];
byte	mst[NA], owner[NA];	/* member state word = state | pid, changed together */
#define FREE	0
#define CLAIMED	1
#define LIVE	2
#define DEAD	3
#if META
byte	agen[NA];
#endif
#if MOVES
/* a wish: account + 1 | group | the account's generation | ghost: how often it had been claimed */
#define WISH(a, g, n)	((a + 1) * 512 + (g) * 128 + (n) * 8 + claims[a])
#define WISHED(w)	((w) / 512 - 1)
#define WISHED_LEAF(w)	((w) / 128 % 4)
#define WISHED_GEN(w)	((w) / 8 % 16)
#define WISHED_CLAIM(w)	((w) % 8)
short	g_wish;			/* in the same word as G */
byte	claims[NA];		/* ghost */
#define CLAIMED_ANEW(a)	claims[a]++
#define NO_WISH		(rw == 0)
#else
#define CLAIMED_ANEW(a)	skip
#define NO_WISH		true
#endif
#if REFILL
bool	unheld[NA];		/* not in its member's list of accounts */
#define FREED(a)	unheld[a]
#else
#define FREED(a)	false
#endif
#if JOIN
byte	hw = PREJOINED;		/* accounts from here on are not visited by a recount */
byte	phw = (MKDIR -> NP - 1 : NP);	/* nor are pools */
byte	grp[NA];
byte	gst[NP], ggen[NP];
#define GFREE	0
#define GLIVE	1
#define GDYING	2
#endif
#if MUTATE == TRUST_STOCKED_FLAG
bool	stocked;
#endif

/* ---- fate and ghosts: what the checks know and the protocol does not ------------------------------------------------------- */
byte	evt[NPROC];
#define RUN	0
#define KILLED	1
#define STOPPED	2
#define EXECED	3
bool	dcrash, ddown;
#if SETMAX
bool	lowered;
#endif
#if JOIN
bool	jin[NA];		/* who lives here believes to have joined generation jgen of its group */
byte	jgen[NA];
#endif
byte	rec_by = NONE;		/* who does the latest recount; NONE: it is gone, or there is none */
byte	extra = TAKEOVERS;
#if SOLO
byte	solo = NONE;		/* the one actor who has made all steps since its call began, with nobody in a slow path then */
#define MOVE(x)	solo = (solo == x -> x : NONE)
#else
#define MOVE(x)	skip
#endif

#define IN(a, p)	((p) == 0 || aleaf[a] == (p))
#define OF(a, p, v)	((IN(a, p)) -> (v) : 0)
#if NA == 1
#define SUM(p)		(OF(0, p, hd[0] + st[0]))
#define HELD(p)		(OF(0, p, hd[0]))
#define OPENS		(open[0] + open[1])
#elif NA == 2
#define SUM(p)		(OF(0, p, hd[0] + st[0]) + OF(1, p, hd[1] + st[1]))
#define HELD(p)		(OF(0, p, hd[0]) + OF(1, p, hd[1]))
#define OPENS		(open[0] + open[1] + open[2])
#else
#define SUM(p)		(OF(0, p, hd[0] + st[0]) + OF(1, p, hd[1] + st[1]) + OF(2, p, hd[2] + st[2]))
#define HELD(p)		(OF(0, p, hd[0]) + OF(1, p, hd[1]) + OF(2, p, hd[2]))
#define OPENS		(open[0] + open[1] + open[2] + open[3])
#endif
#define EXACT(p)	(pu[p] == SUM(p) && !pb[p])
#if NP == 2
#define ALL_EXACT	(EXACT(0) && EXACT(1))
#define ALL_COVER	(pu[0] >= SUM(0) && pu[1] >= SUM(1))
#else
#define ALL_EXACT	(EXACT(0) && EXACT(1) && EXACT(2))
#define ALL_COVER	(pu[0] >= SUM(0) && pu[1] >= SUM(1) && pu[2] >= SUM(2))
#endif
/* fast paths change neither a pool nor an account's total, so looking when a slow path closes is looking always */
#define I1		assert(OPENS != 0 || g_rec || (ALL_EXACT))
/* whoever zeroes an account or frees a slot must still have a dead one in hand, not the next owner's */
#define I5(s)		assert(mst[s] == DEAD)
/* A1 hit an account that had been claimed anew for another leaf: its owner may take off pools what others have got, and a recount follows */
#if META && ADJUSTS
bool	foul;
#define FOUL	foul
#define FAIR	foul = 0
#else
#define FOUL	false
#define FAIR	skip
#endif
#define LESS(p, n)	assert(pu[p] >= (n) || FOUL); pu[p] = (pu[p] >= (n) -> pu[p] - (n) : 0)
#if SETMAX || ADJUSTING || MOVES
#define UNDER_MAX(p)	skip
#else
#define UNDER_MAX(p)	assert(pu[p] <= mx[p])
#endif

/* ---- recount ----------------------------------------------------------------------------------------------------------------
 * R1 belongs to whoever calls: unconditional for a settler, only while g_rec for a waiter.  In both cases in one step with its
 * condition, as the compare-and-swap of G makes it. */
#define MAY_TAKE	(g_rec && MUTATE != NO_TAKEOVER && (rec_by == NONE || extra > 0))
#define R_END		(2 * NP + NA + 1)

inline R1(x) {
	MOVE(x);
	extra = ((g_rec && rec_by != NONE && extra > 0 && x != DID) -> extra - 1 : extra);
	g_ep = ((MUTATE == R1_NO_BUMP && g_rec) -> g_ep : (g_ep + 1) % EM);
	assert(AGE(EPOCH0, g_ep) < EM / 2 - 1);
	g_rec = 1;
	rec_by = x;
#if MOVES
	rw = ((g_wish != 0 && MUTATE != TAKE_OVER_DROPS_WISH) -> g_wish : wi);
	g_wish = (MUTATE == MOVE_WITHOUT_WISH -> 0 : rw);
#endif
	re = g_ep; rk = 0; rl = NONE
}

#if MOVES
#define NOTHING_WISHED	rw = 0; wi = 0
#else
#define NOTHING_WISHED	skip
#endif
#define RA	(rk - NP)	/* account in hand */
#define RP	(rk - NP - NA)	/* pool in hand */

/* a pool of this very epoch that is not busy was made by mkdir after R1: nobody has charged it yet */
#define BEHIND(p)	(OLDER(pe[p], re) || (pe[p] == re && ((!pb[p] && MUTATE != R2_OLDER_ONLY) || MUTATE == R1_NO_BUMP)))
#define MINE(p)		((pb[p] && pe[p] == re) || MUTATE == R4_IGNORES_EPOCH)
#define AT_R2		(rk < rp)
#define AT_L1		(rk == (MUTATE == L1_AFTER_R3 -> NP + NA : NP) && !NO_WISH)
#define AT_R3		(rk >= NP && (NO_WISH || MUTATE == L1_AFTER_R3) && rk < NP + NA && RA < rh)
#define AT_R4		(rk >= NP + NA && NO_WISH && rk < 2 * NP + NA && RP < rp)
#define SKIPS		((rk < NP && rk >= rp) || (rk >= NP && rk < NP + NA && RA >= rh && NO_WISH) || (rk >= NP + NA && rk < 2 * NP + NA && RP >= rp))

inline recount_rest(x) {
#if JOIN
	/* must come after R1, and be one reading for the whole recount */
	rh = hw; rp = phw;
#else
	rh = NA; rp = NP;
#endif
	do
	:: d_step { (AT_R2 && BEHIND(rk)) -> MOVE(x); pb[rk] = 1; pe[rk] = re; pu[rk] = 0; rk++ }				/* R2 */
	:: d_step { (AT_R2 && !BEHIND(rk)) -> MOVE(x); rk = R_END }
#if MOVES
	:: d_step { (AT_L1 && rl == NONE) -> MOVE(x);										/* L1 */
		if
		:: agen[WISHED(rw)] == WISHED_GEN(rw) || MUTATE == MOVE_WITHOUT_WISH -> rl = aleaf[WISHED(rw)]
		:: else -> rw = 0
		fi }
	:: d_step { (AT_L1 && rl != NONE) -> MOVE(x);
		if
		:: (agen[WISHED(rw)] == WISHED_GEN(rw) && aleaf[WISHED(rw)] == rl) ||
		   MUTATE == LABEL_STORED || MUTATE == MOVE_WITHOUT_WISH ->
			assert(MUTATE == MOVE_WITHOUT_WISH || claims[WISHED(rw)] == WISHED_CLAIM(rw));
			agen[WISHED(rw)] = (MUTATE == L1_KEEPS_GENERATION -> WISHED_GEN(rw) : WISHED_GEN(rw) + 1);
			aleaf[WISHED(rw)] = WISHED_LEAF(rw)
		:: else
		fi;
		rw = 0; rl = NONE }
#endif
#if LEAVES && VARY != R3_LEAF_AFTER
	:: d_step { (AT_R3 && rl == NONE) -> MOVE(x); rl = aleaf[RA] }
#define LEAF_READ	(rl != NONE)
#elif LEAVES
	:: d_step { (AT_R3 && rl != NONE) -> MOVE(x); rs[aleaf[RA]] = rs[aleaf[RA]] + (aleaf[RA] == 0 -> 0 : rl); rl = NONE; rk++ }
#define LEAF_READ	(rl == NONE)
#else
#define LEAF_READ	true
#endif
	:: d_step { (AT_R3 && LEAF_READ && !OLDER(re, ae[RA])) -> MOVE(x);							/* R3 */
		if
		:: ae[RA] == re ->
			/* claimed in this epoch, so still empty: nobody can charge before R5 */
			assert(MUTATE != 0 || hd[RA] + st[RA] == 0)
		:: else ->
			ae[RA] = re;
			st[RA] = (MUTATE == R3_KEEPS_STOCK -> st[RA] : 0)
		fi;
		rs[0] = rs[0] + hd[RA];
#if LEAVES && VARY != R3_LEAF_AFTER
		rs[rl] = rs[rl] + (rl == 0 -> 0 : hd[RA]); rl = NONE; rk++
#elif LEAVES
		rl = hd[RA]
#else
		rs[aleaf[RA]] = rs[aleaf[RA]] + hd[RA]; rk++
#endif
	}
	:: d_step { (AT_R3 && LEAF_READ && OLDER(re, ae[RA])) -> MOVE(x); rl = NONE;
		rk = (MUTATE == R4_IGNORES_EPOCH -> rk + 1 : R_END) }
#if MUTATE == R4_READS_MARK_AGAIN
	:: d_step { (rk == NP + NA && rp != phw) -> rp = phw }
#endif
	:: d_step { (AT_R4 && MINE(RP)) -> MOVE(x); pb[RP] = 0; pu[RP] = rs[RP]; UNDER_MAX(RP); rk++ }			/* R4 */
	:: d_step { (AT_R4 && !MINE(RP)) -> MOVE(x); rk = R_END }
	:: d_step { SKIPS -> rk++ }
	:: d_step { (rk == 2 * NP + NA) -> MOVE(x);										/* R5 */
		if
		:: g_rec && g_ep == re -> g_rec = 0; rec_by = NONE;
#if MOVES
			g_wish = 0;
#endif
			I1
		:: else
		fi;
		rk = R_END }
	:: (rk == R_END) -> break
	od;
	atomic { re = 0; rk = 0; rh = 0; rp = 0; rl = NONE; rs[0] = 0; rs[1] = 0; rs[NP - 1] = 0; NOTHING_WISHED }
}

/* ---- down: U4, D3, S3 -------------------------------------------------------------------------------------------------------- */
#define SAME(p)	(MUTATE == DOWN_IGNORES_EPOCH || pe[p] == de)
inline down(x) {
	do
	:: d_step { (dl != NONE && SAME(dl) && !pb[dl]) ->
		MOVE(x); LESS(dl, dg); dl = PARENT(dl) }
	:: d_step { (dl != NONE && !SAME(dl)) -> MOVE(x); dl = NONE }
	:: d_step { (dl != NONE && SAME(dl) && pb[dl] && MUTATE == DOWN_SKIPS_BUSY) -> MOVE(x); dl = NONE }
	:: d_step { (dl != NONE && SAME(dl) && pb[dl] && MAY_TAKE) -> R1(x) };
		recount_rest(x)
	:: (dl == NONE) -> break
	od;
	atomic { dg = 0; de = 0 }
}

/* ---- drain of account dk by x ------------------------------------------------------------------------------------------------
 * An account may be freed and claimed for another leaf behind the drainer's back; then it has taken a stock of it does not know
 * which pool, and a recount is the way to put that right. */
inline drain(x) {
#if META
	d_step { MOVE(x); dl = aleaf[dk]; dm = agen[dk] };								/* D1 */
	d_step { MOVE(x); dg = st[dk]; de = ae[dk]; st[dk] = 0 };							/* D2 */
	if
	:: d_step { (dg == 0) -> dl = NONE }
	:: d_step { (dg > 0 && (agen[dk] == dm || MUTATE == DRAIN_TRUSTS_LEAF)) -> MOVE(x); dm = 0 }
	:: d_step { (dg > 0 && !(agen[dk] == dm || MUTATE == DRAIN_TRUSTS_LEAF)) -> R1(x); dl = NONE };
		recount_rest(x)
	fi;
	dm = 0;
#else
	d_step { MOVE(x); dl = aleaf[dk]; dg = st[dk]; de = ae[dk]; st[dk] = 0 };
#endif
	down(x)													/* D3 */
}

#define CLOSE(o, n)	open[o] = n; I1

/* ---- x adjusts account k: from af to at, dm is its generation as it was before af was read -------------------------------------- */
#define USABLE(k)	(ae[k] == e || (OLDER(ae[k], e) && hd[k] + st[k] == 0))
#define FITS(p)		(!pb[p] && pe[p] == e)
#define A_UP	1
#define A_UNDO	2
#define A_DONE	3
#define A_END	4
#if ADJUSTS
#define MAY_BE_FOUL(x, k)	foul = (x == DID && agen[k] != dm -> 1 : foul)
#else
#define MAY_BE_FOUL(x, k)	skip
#endif
inline adjust(x, k, o) {
	d_step { MOVE(x); open[o]++; e = EM; ph = A_UP };
	do
	:: d_step { (ph == A_UP && at > af && e == EM && !g_rec) -> MOVE(x); e = g_ep; p = EM }
	:: d_step { (ph == A_UP && at > af && e == EM && MAY_TAKE) -> R1(x) };
		recount_rest(x)
	:: d_step { (ph == A_UP && e != EM && p == EM) -> MOVE(x); lf = aleaf[k]; p = lf }
	:: d_step { (ph == A_UP && e != EM && p < NONE && FITS(p)) -> MOVE(x); pu[p]++; p = PARENT(p) }
	:: d_step { (ph == A_UP && e != EM && p < NONE && !FITS(p)) -> MOVE(x); assert(g_rec || g_ep != e); e = EM }
	:: d_step { (ph == A_UP && e != EM && p == NONE) -> MOVE(x);							/* A1 */
		if
		:: !USABLE(k) -> assert(g_rec || g_ep != e); e = EM
		:: USABLE(k) && hd[k] != af && MUTATE != A1_BLIND -> p = lf; ph = A_UNDO
		:: USABLE(k) && (hd[k] == af || MUTATE == A1_BLIND) -> ae[k] = e; hd[k] = at; ph = A_DONE; MAY_BE_FOUL(x, k)
		fi }
	:: d_step { (ph == A_UNDO && p != NONE && FITS(p)) -> MOVE(x); LESS(p, 1); p = PARENT(p) }
	:: d_step { (ph == A_UNDO && p != NONE && !FITS(p)) -> MOVE(x); assert(g_rec || g_ep != e); p = NONE }
	:: d_step { (ph == A_UNDO && p == NONE) -> ph = A_END }
#if MUTATE == A1_READS_GROUP_FIRST
	:: d_step { (ph == A_UP && at < af && dl == NONE) -> MOVE(x); dl = aleaf[k] };
		d_step { MOVE(x);
#else
	:: d_step { (ph == A_UP && at < af) -> MOVE(x);									/* A1 */
#endif
		if
		:: hd[k] == af || MUTATE == A1_BLIND -> de = ae[k]; hd[k] = at; dg = af - at; ph = A_DONE
		:: else -> ph = A_END; dl = NONE
		fi };
		if
#if MUTATE != A1_READS_GROUP_FIRST
		:: ph == A_DONE -> d_step { MOVE(x); dl = (agen[k] == dm || MUTATE == ADJUST_TRUSTS_LEAF -> aleaf[k] : NONE) }
#endif
		:: else
		fi;
		down(x)
	:: d_step { (ph == A_DONE && (agen[k] == dm || MUTATE == ADJUST_NO_GENERATION)) -> MOVE(x); ph = A_END }
	:: d_step { (ph == A_DONE && !(agen[k] == dm || MUTATE == ADJUST_NO_GENERATION)) -> MOVE(x); dm = agen[k];
#if REFILL
		/* it was not the account that was looked at; whoever frees or claims it finds what is in it */
		hd[k] = ((at > af && hd[k] == at && MUTATE != ADJUST_LEAVES_IT) -> af : hd[k])
#endif
		};
		d_step { R1(x) };
		recount_rest(x);
		ph = A_END
	:: (ph == A_END) -> break
	od;
	atomic { MOVE(x); e = 0; p = 0; lf = 0; ph = 0; af = 0; at = 0; dm = 0;
		if
		:: x == DID -> FAIR
		:: else
		fi;
		CLOSE(o, open[o] - 1) }
}
#if ADJUSTING
#define NOTHING_ADJUSTED	af = 0; at = 0; ph = 0
#else
#define NOTHING_ADJUSTED	skip
#endif

/* ---- a process ----------------------------------------------------------------------------------------------------------------- */
#if MOVES
#define MY_LEAF	lf
#else
#define MY_LEAF	aleaf[a]
#endif
proctype Member(byte i; byte ops) {
	byte a = i;			/* my slot and account */
	byte e, b, p, fp, k, found, m;
	byte re, rk, rh, rp, rl = NONE, rs[NP];
	byte dl = NONE, dg, de, dk, dm;
	bool newimage, joined = (i < PREJOINED);
	byte want;
#if MOVES
	short rw, wi;
#endif
#if MOVES || ADJUSTING
	byte lf;
#define NO_LEAF	lf = 0
#else
#define NO_LEAF	skip
#endif
#if ADJUSTING
	byte af, at, ph;
#endif

#define FORGET	e = 0; b = 0; p = 0; fp = 0; k = 0; found = 0; m = 0; re = 0; rk = 0; rh = 0; rp = 0; rl = NONE; rs[0] = 0; rs[1] = 0; rs[NP - 1] = 0; \
	dl = NONE; dg = 0; de = 0; dk = 0; dm = 0; want = 0; NOTHING_WISHED; NOTHING_ADJUSTED; NO_LEAF

boot:
	{
		/* exec: same process, same slot, so that only the daemon ever settles a slot that is not the settler's own */
		if
		:: newimage && joined && MUTATE != TWO_SETTLERS ->
			d_step { MOVE(i); k = open[a]; open[a] = k + 1 };						/* S1 */
#if MOVES && MUTATE == S2_READS_GROUP_FIRST
			d_step { MOVE(i); dl = aleaf[a] };
			d_step { MOVE(i); dg = hd[a] + st[a]; de = ae[a]; hd[a] = 0; st[a] = 0 };				/* S2 */
#elif MOVES
			d_step { MOVE(i); dg = hd[a] + st[a]; de = ae[a]; hd[a] = 0; st[a] = 0 };				/* S2 */
			d_step { MOVE(i); dl = aleaf[a] };
#else
			d_step { MOVE(i); dg = hd[a] + st[a]; de = ae[a]; dl = aleaf[a]; hd[a] = 0; st[a] = 0 };		/* S2 */
#endif
			if
			:: k == 0 || MUTATE == SETTLE_NO_RECOUNT -> down(i)						/* S3 */
			:: else ->
#if MUTATE == OPEN_CLEARED_EARLY
				open[a] = 0;
#endif
				d_step { dl = NONE; dg = 0; de = 0; R1(i) };						/* S4 */
				recount_rest(i)
			fi;
#if REFILL
			/* others may have adjusted the account since S2: by its generation they see that it is nobody's */
			if
			:: unheld[a]
			:: !unheld[a] ->
				/* in this order: whoever still finds it listed has seen the old generation */
				d_step { MOVE(i); unheld[a] = (MUTATE == FREE_BEFORE_UNLISTED -> 0 : 1) };			/* F1 */
				d_step { MOVE(i); agen[a] = (MUTATE == FREE_KEEPS_GENERATION -> agen[a] : agen[a] + 1) };	/* F2 */
				d_step { MOVE(i); found = (hd[a] + st[a] > 0);						/* F3 */
					if
					:: MUTATE != FREE_TRUSTS_SETTLE -> hd[a] = 0; st[a] = 0
					:: else -> found = 0
					fi };
				if
				:: d_step { found -> found = 0; R1(i) };
					recount_rest(i)
				:: else
				fi;
				d_step { MOVE(i); unheld[a] = 1 }							/* F4 */
			fi;
			if
			:: true
			:: d_step { k = 0; newimage = 0; ops = 0; MOVE(i); CLOSE(a, 0) };		/* it claims another one, which is all its own */
				goto end_idle
			fi;
			atomic { MOVE(i); agen[a]++; CLAIMED_ANEW(a);							/* J5 */
				if
				:: true
				:: aleaf[a] = (aleaf[a] == NP - 1 -> NP - 2 : NP - 1)
				fi };
			d_step { MOVE(i); e = g_ep };									/* J4 */
			d_step { MOVE(i); found = (hd[a] + st[a] > 0 && MUTATE != CLAIM_FORGETS); ae[a] = e; hd[a] = 0; st[a] = 0; e = 0 };	/* J6 */
			if
			:: d_step { found -> found = 0; R1(i) };
				recount_rest(i)
			:: else
			fi;
			d_step { MOVE(i); unheld[a] = 0 };
#endif
			d_step { k = 0; newimage = 0; MOVE(i); CLOSE(a, 0) }						/* S5 */
#if MUTATE == TWO_SETTLERS
		:: newimage && joined ->
			d_step { MOVE(i); mst[a] = DEAD; joined = 0 };
			d_step { dg = hd[a] + st[a]; de = ae[a]; dl = aleaf[a]; hd[a] = 0; st[a] = 0 };
			down(i);
			d_step { I5(a); newimage = 0; mst[a] = FREE; owner[a] = NONE; open[a] = 0 }
#endif
		:: else
		fi;

#if JOIN
		/* exec in the middle of a join: nothing was charged in that slot yet */
		if
		:: newimage && !joined && owner[a] == i -> d_step { MOVE(i); mst[a] = FREE; owner[a] = NONE; newimage = 0 }
		:: else -> newimage = 0
		fi;
		if
		:: joined
		:: !joined ->
			d_step { want = (i == 0 -> L0 : (i == 1 -> L1 : L2)); m = ggen[want] };
			if
			:: gst[want] != GLIVE -> goto end_idle
			:: else
			fi;
			if													/* J1 */
			:: d_step { (mst[0] == FREE) -> MOVE(i); a = 0; mst[0] = CLAIMED; owner[0] = i }
			:: d_step { (NA > 1 && mst[0] != FREE && mst[1 % NA] == FREE) -> MOVE(i); a = 1; mst[a] = CLAIMED; owner[a] = i }
			:: d_step { (NA > 2 && mst[0] != FREE && mst[1 % NA] != FREE && mst[2 % NA] == FREE) ->
				MOVE(i); a = 2; mst[a] = CLAIMED; owner[a] = i }
			:: (mst[0] != FREE && mst[1 % NA] != FREE && mst[2 % NA] != FREE) -> goto end_idle
			fi;
			d_step { MOVE(i); grp[a] = want };								/* J2 */
#if VARY == CLAIM_READS_EPOCH_FIRST
			d_step { MOVE(i); e = g_ep };
			d_step { MOVE(i); hw = (hw > a -> hw : a + 1) };
#else
#if MUTATE != MARK_NEVER_RAISED
			d_step { MOVE(i); hw = (hw > a -> hw : a + 1) };						/* J3 */
#endif
			d_step { MOVE(i); e = g_ep };									/* J4 */
#endif
			d_step { MOVE(i); aleaf[a] = want; agen[a]++; CLAIMED_ANEW(a) };							/* J5 */
			d_step { MOVE(i); ae[a] = e; hd[a] = 0; st[a] = 0; e = 0 };					/* J6 */
			d_step { MOVE(i); mst[a] = LIVE };								/* J7 */
			if													/* J8 */
			:: d_step { ((gst[want] == GLIVE && (m == ggen[want] || MUTATE == JOIN_NO_GENERATION)) || MUTATE == JOIN_NO_REREAD) ->
				MOVE(i); joined = 1; jin[a] = 1; jgen[a] = m; m = 0; want = 0 }
			:: d_step { !((gst[want] == GLIVE && (m == ggen[want] || MUTATE == JOIN_NO_GENERATION)) || MUTATE == JOIN_NO_REREAD) ->
				MOVE(i); mst[a] = FREE; owner[a] = NONE; m = 0; want = 0 };
				goto end_idle
			fi
		fi;
#endif

		do
		:: ops > 0 -> ops--;
			if													/* C1 */
			:: d_step { (st[a] > 0) -> MOVE(i); hd[a]++; st[a]-- }
			:: atomic { (st[a] == 0) ->									/* C2 */
#if SOLO
				if
				:: OPENS == 0 && !g_rec -> solo = i
				:: else -> MOVE(i)
				fi;
#endif
				open[a]++;
				if
				:: b = 2
				:: b = 1	/* a level is tight */
				fi }
C3:
				if
#if MOVES && MUTATE == C3_READS_GROUP_FIRST
				:: d_step { (!g_rec) -> MOVE(i); lf = aleaf[a] };
					d_step { (!g_rec) -> MOVE(i); e = g_ep; p = lf }
#elif MOVES
				:: d_step { (!g_rec) -> MOVE(i); e = g_ep };
					/* where the account belongs may change while an epoch ends: with the old group it fails by the epoch */
					d_step { MOVE(i); lf = aleaf[a]; p = lf }
#else
				:: d_step { (!g_rec) -> MOVE(i); e = g_ep; p = aleaf[a] }
#endif
				:: d_step { MAY_TAKE -> R1(i) };
					recount_rest(i);
					goto C3
				fi;
#if JOIN || REFILL
				/* this account was claimed behind the back of the latest recount: nothing can be in it yet */
				if
				:: d_step { (OLDER(ae[a], e) && MUTATE != NO_STALE_RULE) -> MOVE(i);
					assert(hd[a] + st[a] == 0); ae[a] = e }
				:: !(OLDER(ae[a], e) && MUTATE != NO_STALE_RULE)
				fi;
#endif
C4:
				if
#if SETMAX
				:: d_step { (p != NONE && m == 0) -> MOVE(i); m = mx[p] };
					goto C4
				:: d_step { (m != 0 && p != NONE && !pb[p] && pe[p] == e && pu[p] + b <= m) -> MOVE(i);
					pu[p] = pu[p] + b; m = pu[p] };
					if
					:: d_step { (m > mx[p] && MUTATE != C4_NO_REREAD) -> MOVE(i);
						m = 0; fp = p; p = aleaf[a]; found = 2 };
						goto C4r
					:: d_step { !(m > mx[p] && MUTATE != C4_NO_REREAD) -> MOVE(i); m = 0; p = PARENT(p) };
						goto C4
					fi
				:: d_step { (m != 0 && p != NONE && !pb[p] && pe[p] == e && pu[p] + b > m) -> MOVE(i);
					m = 0; fp = p; p = aleaf[a] };
					goto C4r
#else
				:: d_step { (p != NONE && !pb[p] && pe[p] == e && pu[p] + b <= mx[p]) -> MOVE(i);
					pu[p] = pu[p] + b; p = PARENT(p) };
					goto C4
				:: d_step { (p != NONE && !pb[p] && pe[p] == e && pu[p] + b > mx[p]) -> MOVE(i);
					fp = p; p = MY_LEAF };
					goto C4r
#endif
				/* a restart must have a recount as its cause, or it would be a loop */
				:: d_step { (p != NONE && (pb[p] || pe[p] != e)) -> MOVE(i); assert(g_rec || g_ep != e); m = 0; p = 0 };
					goto C3
				:: p == NONE -> goto C5
				fi;
C4r:
				if
				:: d_step { (p != fp && ((!pb[p] && pe[p] == e) || MUTATE == C4R_IGNORES_EPOCH)) -> MOVE(i);
					LESS(p, b); p = PARENT(p) };
					goto C4r
#if SETMAX
				:: d_step { (p == fp && found == 2 && !pb[p] && pe[p] == e) -> MOVE(i);
					LESS(p, b); found = 0 };
					goto C4r
				:: d_step { (p == fp && found == 2 && (pb[p] || pe[p] != e)) -> MOVE(i); p = 0; fp = 0; found = 0 };
					goto C3
#endif
				:: d_step { (p != fp && !((!pb[p] && pe[p] == e) || MUTATE == C4R_IGNORES_EPOCH)) -> MOVE(i);
					assert(g_rec || g_ep != e); p = 0; fp = 0; found = 0 };
					goto C3
				:: d_step { (p == fp && b == 2 && found != 2) -> b = 1; p = 0; fp = 0; e = 0 };
					goto C3
				:: d_step { (p == fp && b == 1 && found != 2) -> p = 0; e = 0; k = 0 }
				fi;

				/* whatever lies in a stock below the refusing level is looked for each time: a flag that
				   says "there is none" is out of date as soon as it is read */
#if MUTATE == TRUST_STOCKED_FLAG
				if
				:: d_step { stocked -> MOVE(i); stocked = 0 }
				:: !stocked -> goto refused
				fi;
#endif
#if MUTATE == NO_DRAIN
				goto refused;
#endif
C4d:
				if
				:: d_step { (k < NA && !(IN(k, fp) && st[k] > 0)) -> MOVE(i); k++ };
					goto C4d
				:: d_step { (k < NA && IN(k, fp) && st[k] > 0) -> found = 1; dk = k; k++ };
					drain(i);
					dk = 0;
					goto C4d
				:: d_step { (k == NA && found) -> k = 0; found = 0; fp = 0 };
					goto C3
				:: k == NA && !found
				fi;
refused:
#if SOLO
				assert(solo != i || HELD(fp) + 1 > mx[fp]);
#endif
				goto C6;
C5:
				if
				:: d_step { (ae[a] == e || MUTATE == C5_IGNORES_EPOCH) -> MOVE(i);
					hd[a]++; st[a] = st[a] + b - 1; 
#if MUTATE == TRUST_STOCKED_FLAG
					stocked = 1;	/* generously, in the same step: the mistake shows all the same */
#endif
					p = 0 }
				:: d_step { !(ae[a] == e || MUTATE == C5_IGNORES_EPOCH) -> MOVE(i);
					assert(g_rec || g_ep != e); p = 0 };
					goto C3
				fi;
C6:
				if
				:: d_step { MOVE(i); e = 0; b = 0; p = 0; fp = 0; k = 0; CLOSE(a, open[a] - 1) }
				fi
			fi
		:: ops > 0 && hd[a] > 0 -> ops--;
			if
			:: st[a] < 2 ->
#if MUTATE == TRUST_STOCKED_FLAG
				d_step { MOVE(i); stocked = 1 };
#endif
#if ANYBODY
				d_step { MOVE(i);
					if
					:: hd[a] > 0 -> hd[a]--; st[a]++
					:: else
					fi }
#else
				d_step { MOVE(i); hd[a]--; st[a]++ }								/* U1 */
#endif
			:: true ->
#if MUTATE == U2_AFTER_U3
				atomic { de = ae[a]; dl = aleaf[a]; dg = st[a] + 1; hd[a]--; st[a] = 0 };
				open[a]++;
#else
				d_step { MOVE(i); open[a]++ };									/* U2 */
#if MOVES && MUTATE == U3_READS_GROUP_FIRST
				d_step { MOVE(i); dl = aleaf[a] };
#endif
				atomic { MOVE(i); de = ae[a];									/* U3 */
#if ANYBODY
					/* what was found untouched is no longer held */
					k = (hd[a] > 0);
#else
					k = 1;
#endif
					if
					:: dg = st[a] + k; st[a] = 0
					:: st[a] > 0 -> dg = st[a] + k - 1; st[a] = 1
					fi;
					hd[a] = hd[a] - k; k = 0;
#if !MOVES
					dl = aleaf[a]
#endif
					};
#if MOVES && MUTATE != U3_READS_GROUP_FIRST
				d_step { MOVE(i); dl = aleaf[a] };
#endif
#if ANYBODY
				dl = (dg > 0 -> dl : NONE);
#endif
#endif
				down(i);										/* U4 */
				d_step { MOVE(i); CLOSE(a, open[a] - 1) }							/* U5 */
			fi
#if SELFADJ
		:: ops > 0 -> ops--;
			d_step { MOVE(i); dm = agen[a] };
			atomic { MOVE(i); af = hd[a];
				if
				:: at = af + 1
				:: af > 0 -> at = af - 1
				fi };
			adjust(i, a, a)
#endif
		:: ops == 0 -> break
		od;
end_idle:
		false
	} unless { evt[i] != RUN };
	if
	:: d_step { (evt[i] == EXECED) -> evt[i] = RUN; newimage = 1; FORGET };
		goto boot
	:: d_step { else -> FORGET; newimage = 0; ops = 0 }
	fi
}

/* ---- the daemon ------------------------------------------------------------------------------------------------------------------ */
#define GONE(s)		(owner[s] != NONE && evt[owner[s]] == KILLED)
#define REAPED(s)	((mst[s] == LIVE || (mst[s] == CLAIMED && MUTATE != REAP_LIVE_ONLY)) && GONE(s))

proctype Daemon() {
	byte s, k;
	byte re, rk, rh, rp, rl = NONE, rs[NP];
	byte dl = NONE, dg, de, dk, dm;
#if MOVES
	short rw, wi;
	byte wg, wl, relabels = RELABELS;
#endif
#if ADJUSTING
	byte af, at, ph, e, p, lf, adjusts = ADJUSTS;
#endif
	byte drains = DRAINS, recounts = RECOUNTS, rms = RMS, lower = SETMAX;

up:
	{
		if
		:: open[DMN] != 0 && MUTATE != ADOPT_NO_RECOUNT ->
			d_step { R1(DID) };
			recount_rest(DID);
			d_step { MOVE(DID); FAIR; CLOSE(DMN, 0) }
		:: else -> open[DMN] = 0
		fi;
#if RMS
		if
		:: gst[NP - 1] == GDYING -> gst[NP - 1] = GLIVE
		:: else
		fi;
#endif
end_loop:
		do
		:: d_step { REAPED(0) -> MOVE(DID); mst[0] = DEAD }
		:: d_step { (NA > 1 && REAPED(1 % NA)) -> MOVE(DID); mst[1 % NA] = DEAD }
		:: d_step { (NA > 2 && REAPED(2 % NA)) -> MOVE(DID); mst[2 % NA] = DEAD }
		:: (mst[0] == DEAD || mst[1 % NA] == DEAD || mst[2 % NA] == DEAD) ->
			d_step { MOVE(DID); s = (mst[0] == DEAD -> 0 : (mst[1 % NA] == DEAD -> 1 % NA : 2 % NA)); open[DMN]++ };	/* S1 */
#if MOVES && MUTATE == S2_READS_GROUP_FIRST
			d_step { MOVE(DID); dl = aleaf[s] };
#endif
			d_step { MOVE(DID); I5(s); dg = hd[s] + st[s]; de = ae[s]; hd[s] = 0; st[s] = 0;			/* S2 */
#if !MOVES
				dl = aleaf[s];
#endif
#if VARY == SETTLE_CLEARS_OPEN_FIRST
				k = open[s]; open[s] = 0
#else
				k = open[s]
#endif
			};
#if MOVES && MUTATE != S2_READS_GROUP_FIRST
			d_step { MOVE(DID); dl = aleaf[s] };
#endif
			if
			:: k == 0 || MUTATE == SETTLE_NO_RECOUNT -> down(DID)						/* S3 */
			:: else ->
				d_step { k = 0; dl = NONE; dg = 0; de = 0; R1(DID) };					/* S4 */
				recount_rest(DID);
				d_step { MOVE(DID); open[s] = 0 }
			fi;
			d_step { MOVE(DID); I5(s); k = 0; mst[s] = FREE; owner[s] = NONE; open[s] = 0;					/* S5 */
#if JOIN
				jin[s] = 0; jgen[s] = 0
#endif
			};
			d_step { MOVE(DID); s = 0; CLOSE(DMN, open[DMN] - 1) }
#if DRAINS
		:: drains > 0 ->
			atomic { MOVE(DID); drains--; open[DMN]++;							/* D1 */
				if
				:: dk = 0
				:: dk = 1 % NA
				:: dk = 2 % NA
				fi };
			drain(DID);
			d_step { MOVE(DID); dk = 0; CLOSE(DMN, open[DMN] - 1) }						/* D4 */
#endif
#if ADJUSTS
		:: adjusts > 0 ->
			atomic { MOVE(DID); adjusts--;
				if
				:: s = 0
				:: s = 1 % NA
				fi;
				dm = agen[s] };
			d_step { MOVE(DID); af = hd[s] };
			if
			:: mst[s] == LIVE && !FREED(s) ->
				if
				:: at = af + 1
				:: af > 0 -> at = af - 1
				fi;
				adjust(DID, s, DMN)
			:: else -> d_step { dm = 0; af = 0 }
			fi;
			s = 0
#endif
#if MOVES
		:: relabels > 0 ->
			atomic { MOVE(DID); relabels--; open[DMN]++;
				if
				:: s = 0
				:: s = 1 % NA
				fi };
			d_step { MOVE(DID); dm = agen[s]; wl = aleaf[s]; wg = (wl == NP - 1 -> NP - 2 : NP - 1); dg = WISH(s, wg, dm) % 8 };
			/* in this order: it was this member's when its meta was read, or there is another generation by now */
			if
			:: mst[s] == LIVE && !FREED(s) ->
				do
				:: d_step { (agen[s] == dm && aleaf[s] == wl) -> wi = (s + 1) * 512 + wg * 128 + dm * 8 + dg; R1(DID); wi = 0 };
					recount_rest(DID);
					/* superseded: as C3 */
					do
					:: !g_rec -> break
					:: d_step { MAY_TAKE -> R1(DID) };
						recount_rest(DID)
					od
				:: !(agen[s] == dm && aleaf[s] == wl) -> break
				od
			:: else
			fi;
			atomic { MOVE(DID); s = 0; dm = 0; dg = 0; wl = 0; wg = 0; CLOSE(DMN, open[DMN] - 1) }
#endif
#if RECOUNTS
		:: recounts > 0 ->
			d_step { MOVE(DID); recounts--; open[DMN]++ };
			d_step { R1(DID) };
			recount_rest(DID);
			d_step { MOVE(DID); CLOSE(DMN, open[DMN] - 1) }
#endif
#if RMS
		:: rms > 0 ->
			d_step { MOVE(DID); rms--; gst[NP - 1] = GDYING; k = 0 };					/* rm */
			do
			:: d_step { (k < NA && !(mst[k] != FREE && grp[k] == NP - 1)) -> MOVE(DID); k++ }
			:: d_step { (k < NA && mst[k] != FREE && grp[k] == NP - 1) -> MOVE(DID); gst[NP - 1] = GLIVE; k = NONE }
			:: (k >= NA) -> break
			od;
			if
			:: k == NA && MUTATE != RM_NO_RECOUNT ->
				/* somebody may still be on the way down through this pool; in a new epoch it stops */
				d_step { MOVE(DID); open[DMN]++ };
				d_step { R1(DID) };
				recount_rest(DID);
				d_step { MOVE(DID); gst[NP - 1] = GFREE; CLOSE(DMN, open[DMN] - 1) };
				d_step { MOVE(DID); ggen[NP - 1]++; gst[NP - 1] = GLIVE }				/* mkdir */
			:: k == NA && MUTATE == RM_NO_RECOUNT ->
				gst[NP - 1] = GFREE;
				d_step { MOVE(DID); ggen[NP - 1]++; pb[NP - 1] = 0; pe[NP - 1] = g_ep; pu[NP - 1] = 0; gst[NP - 1] = GLIVE }
			:: else
			fi;
			k = 0
#endif
#if MKDIR
		:: gst[NP - 1] == GFREE ->
#if MUTATE == MKDIR_EPOCH_FIRST
			d_step { MOVE(DID); k = g_ep };
			d_step { MOVE(DID); phw = NP };
#else
			d_step { MOVE(DID); phw = NP };
			d_step { MOVE(DID); k = g_ep };
#endif
			/* not a store: a recount that began in between owns the word */
			d_step { MOVE(DID);
				if
				:: OLDER(pe[NP - 1], k) || MUTATE == MKDIR_STORES -> pe[NP - 1] = k; pb[NP - 1] = 0; pu[NP - 1] = 0
				:: else
				fi; k = 0 };
			d_step { MOVE(DID); gst[NP - 1] = GLIVE }
#endif
#if SETMAX
		:: lower > 0 ->
			d_step { MOVE(DID); mx[1] = lower };
			d_step { MOVE(DID); lowered = (pu[1] <= mx[1]); lower = 0 }
#endif
		od
	} unless { dcrash };
#if MOVES
#define NOTHING_MOVED	rw = 0; wi = 0; wg = 0; wl = 0
#else
#define NOTHING_MOVED	skip
#endif
#if ADJUSTING
#define ALL_ADJUSTED	af = 0; at = 0; ph = 0; e = 0; p = 0; lf = 0
#else
#define ALL_ADJUSTED	skip
#endif
	d_step { NOTHING_MOVED; ALL_ADJUSTED };
	if
	:: d_step { dcrash = 0; s = 0; k = 0; re = 0; rk = 0; rh = 0; rp = 0; rl = NONE; rs[0] = 0; rs[1] = 0; rs[NP - 1] = 0;
		dl = NONE; dg = 0; de = 0; dk = 0; dm = 0 };
		goto up
	:: d_step { ddown = 1; dcrash = 0; s = 0; k = 0; re = 0; rk = 0; rh = 0; rp = 0; rl = NONE; rs[0] = 0; rs[1] = 0; rs[NP - 1] = 0;
		dl = NONE; dg = 0; de = 0; dk = 0; dm = 0; drains = 0; recounts = 0; rms = 0; lower = 0;
#if MOVES
		relabels = 0;
#endif
#if ADJUSTS
		adjusts = 0;
#endif
		}
	fi
}

/* ---- fate: strikes between any two steps ------------------------------------------------------------------------------------------- */
#define STRIKE(i, what)	evt[i] = what; rec_by = (rec_by == i -> NONE : rec_by)

proctype Fate() {
	byte kills = KILLS, stops = STOPS, execs = EXECS, crashes = CRASHES;
	do
	:: atomic { (kills > 0) -> kills--;
		if
		:: evt[0] == RUN -> STRIKE(0, KILLED)
		:: NPROC > 1 && evt[1 % NPROC] == RUN -> STRIKE(1 % NPROC, KILLED)
		:: NPROC > 2 && evt[2 % NPROC] == RUN -> STRIKE(2 % NPROC, KILLED)
		:: else
		fi }
	:: atomic { (stops > 0) -> stops--;
		if
		:: evt[0] == RUN -> STRIKE(0, STOPPED)
		:: NPROC > 1 && evt[1 % NPROC] == RUN -> STRIKE(1 % NPROC, STOPPED)
		:: NPROC > 2 && evt[2 % NPROC] == RUN -> STRIKE(2 % NPROC, STOPPED)
		:: else
		fi }
	:: d_step { (execs > 0 && evt[0] == RUN) -> execs--; STRIKE(0, EXECED) }
	:: d_step { (crashes > 0 && !dcrash && !ddown) -> crashes--; dcrash = 1; rec_by = (rec_by == DID -> NONE : rec_by) }
	:: break
	od;
	atomic { kills = 0; stops = 0; execs = 0; crashes = 0 }
}

#define IS_STOPPED(i)	(evt[i] == STOPPED)
#define NO_STOPPED	(!IS_STOPPED(0) && !IS_STOPPED(1 % NPROC) && !IS_STOPPED(2 % NPROC))
#define DAEMON_UP	(DAEMON && !ddown)
#define SETTLED(s)	(mst[s] != DEAD && !(mst[s] != FREE && GONE(s)) && (mst[s] != FREE || hd[s] + st[s] + open[s] == 0))

#if JOIN
#define IN_VAIN(s)	(mst[s] == LIVE && jin[s] && evt[owner[s]] == RUN && (gst[grp[s]] == GFREE || ggen[grp[s]] != jgen[s]))
#endif

/* nobody can go on: whoever is not at its end label is held up by someone, and pan says so */
proctype Check() {
	timeout ->
	d_step {
		I1;
		assert(g_rec || ALL_COVER || FOUL);
		assert(!DAEMON_UP || (open[DMN] == 0 && SETTLED(0) && SETTLED(1 % NA) && SETTLED(2 % NA)));
		assert(!DAEMON_UP || !NO_STOPPED || (OPENS == 0 && !g_rec));
#if REFILL && !CRASHES
		assert(!unheld[0] || hd[0] + st[0] == 0);
#endif
#if MOVES
		assert(g_rec || g_wish == 0);
#endif
#if SETMAX
		assert(!lowered || OPENS != 0 || pu[1] <= mx[1]);
#endif
#if JOIN
		assert(!IN_VAIN(0) && !IN_VAIN(1 % NA) && !IN_VAIN(2 % NA))
#endif
	}
}

init {
	d_step {
		g_ep = EPOCH0; ae[0] = EPOCH0; ae[1 % NA] = EPOCH0; ae[2 % NA] = EPOCH0;
		pe[0] = EPOCH0; pe[1] = EPOCH0; pe[NP - 1] = EPOCH0;
#if MKDIR
		pe[NP - 1] = EPOCH0 - 1;	/* as if never used */
#endif
		owner[0] = NONE; owner[1 % NA] = NONE; owner[2 % NA] = NONE;
		hd[0] = H0; st[0] = S0; aleaf[0] = L0;
#if PREJOINED > 0
		mst[0] = LIVE; owner[0] = 0;
#endif
#if NA > 1
		hd[1] = H1; st[1] = S1; aleaf[1] = L1;
#endif
#if PREJOINED > 1
		mst[1] = LIVE; owner[1] = 1;
#endif
#if NA > 2
		hd[2] = H2; st[2] = S2; aleaf[2] = L2;
#endif
#if PREJOINED > 2
		mst[2] = LIVE; owner[2] = 2;
#endif
		mx[0] = MAX0; mx[1] = MAX1;
		pu[0] = SUM(0); pu[1] = SUM(1);
#if NP == 3
		mx[2] = MAX2; pu[2] = SUM(2);
#endif
#if JOIN
		jin[0] = (PREJOINED > 0); jin[1 % NA] = (PREJOINED > 1 % NA); jin[2 % NA] = (PREJOINED > 2 % NA);
		grp[0] = aleaf[0]; grp[1 % NA] = aleaf[1 % NA]; grp[2 % NA] = aleaf[2 % NA];
		gst[0] = GLIVE; gst[1] = GLIVE; gst[NP - 1] = (MKDIR -> GFREE : GLIVE);
#endif
#if MUTATE == TRUST_STOCKED_FLAG
		stocked = (S0 + S1 + S2 > 0);
#endif
	}
	atomic {
		run Member(0, OPS0);
#if NPROC > 1
		run Member(1, OPS1);
#endif
#if NPROC > 2
		run Member(2, OPS2);
#endif
#if DAEMON
		run Daemon();
#endif
		run Fate();
		run Check()
	}
}
