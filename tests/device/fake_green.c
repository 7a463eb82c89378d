/* SPDX-License-Identifier: MIT */
/* The fake driver's green contexts: each retains its device's primary context, and what is made in
 * one is made there. */
#include "tests/device/fake.h"

#include <stdlib.h>

#define GREENS 64

static struct fake_context green[GREENS];

static struct fake_context *find(const struct fake_context *c)
{
	for (unsigned i = 0; i < GREENS; i++)
		if (c == &green[i] && green[i].is_alive)
			return &green[i];
	return NULL;
}

SHOW int cuGreenCtxCreate(struct fake_context **ret, void *resources, int device, unsigned flags);
SHOW int cuGreenCtxCreate(struct fake_context **ret, void *resources, int device, unsigned flags)
{
	struct fake_context *c = green;

	ENTER(cuGreenCtxCreate)
	if (!ret || !resources || flags > 1)
		return INVALID_VALUE;
	if (!fake_is_device(device))
		return INVALID_DEVICE;
	while (c < green + GREENS && c->is_alive)
		c++;
	if (c == green + GREENS || fake_primary_retain(device, &c->under))
		return OUT_OF_MEMORY;
	c->device = device;
	c->is_alive = true;
	*ret = c;
	LEAVE(cuGreenCtxCreate, OK);
}

SHOW int cuGreenCtxDestroy(struct fake_context *c);
SHOW int cuGreenCtxDestroy(struct fake_context *c)
{
	ENTER(cuGreenCtxDestroy)
	if (!find(c))
		return INVALID_CONTEXT;
	c->is_alive = false;
	fake_primary_release(c->device);
	LEAVE(cuGreenCtxDestroy, OK);
}

SHOW int cuCtxFromGreenCtx(struct fake_context **ret, struct fake_context *c);
SHOW int cuCtxFromGreenCtx(struct fake_context **ret, struct fake_context *c)
{
	ENTER(cuCtxFromGreenCtx)
	if (!ret || !c)
		return INVALID_VALUE;
	if (!find(c))
		return INVALID_CONTEXT;
	*ret = c;
	LEAVE(cuCtxFromGreenCtx, OK);
}
