/* SPDX-License-Identifier: MIT */
/* What a refusal costs where many members have stock: stocks COUNT -> "US US US US": the first one where the stocks are
 * another group's, the median of those that follow; the one that takes all the stock, the median of those that follow. */
#include "tests/lib/ground.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define REFUSALS 1000

static struct ground g;

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* One page each, and what is taken in advance with it. */
static uint64_t stock_up(struct party *p, uint32_t n)
{
	uint64_t stock = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (charge_try(&p[i].by, p[i].account, 1, NULL))
			ground_bail("no room");
		stock += ground_stock(&g, p[i].account);
	}
	return stock;
}

static double refuse(const struct party *p)
{
	double began = now_us();

	if (charge_try_as(&p->by, p->account, PAGES_MAX >> 20, CHARGE_FIRST, NULL) == 0)
		ground_bail("not refused");
	return now_us() - began;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(const struct party *p)
{
	static double us[REFUSALS];

	for (int i = 0; i < REFUSALS; i++)
		us[i] = refuse(p);
	qsort(us, REFUSALS, sizeof(us[0]), compare);
	return us[REFUSALS / 2];
}

int main(int argc, char **argv)
{
	uint32_t n = argc > 1 ? (uint32_t)atoi(argv[1]) : 32766;
	struct party *p = calloc(n, sizeof(*p)), other;
	uint16_t full, beside;
	double all, then, elsewhere;

	ground_up(&g);
	full = ground_group(&g, "/full", PAGES_MAX >> 22);
	beside = ground_group(&g, "/beside", PAGES_MAX >> 22);
	other = ground_join(&g, beside);
	for (uint32_t i = 0; p && i < n; i++)
		p[i] = ground_join(&g, full);
	if (!p || stock_up(p, n) != (uint64_t)n * CHARGE_BATCH)
		ground_bail("there is no stock");
	elsewhere = refuse(&other);
	printf("%.2f %.3f ", elsewhere, median(&other));
	all = refuse(&p[n / 2]);
	then = median(&p[n / 2]);
	if (ground_usage(&g, full) != n)
		ground_bail("it was not drained");
	printf("%.2f %.3f\n", all, then);
	free(p);
	ground_down(&g);
	return 0;
}
