/* SPDX-License-Identifier: MIT */
/* Regions: resources that are registered at run time. */
#include "accounting/region.h"

#include "accounting/pool.h"
#include "accounting/recount.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool is_used(const struct segment *seg, unsigned resource)
{
	return mc_load_acquire(&seg->limits->header.region[resource].used);
}

int region_check_name(const char *name)
{
	size_t n = strlen(name);

	if (n == 0 || n > REGION_NAME_MAX)
		return -EINVAL;
	for (; *name; name++)
		if (!isalnum((unsigned char)*name) && !strchr("._@:+/-", *name))
			return -EINVAL;
	return 0;
}

int region_find(const struct segment *seg, const char *name, unsigned *ret_resource)
{
	for (unsigned r = RESOURCE_REGION_FIRST; r < RESOURCES_MAX; r++)
		if (is_used(seg, r) && strcmp(region_name(seg, r), name) == 0) {
			*ret_resource = r;
			return 0;
		}
	return -ENODEV;
}

/* "0000:01:00.0" of "opencl/0000:01:00.0/vram". */
static bool is_named_by(const char *name, const char *address)
{
	const char *part = strchr(name, '/');
	size_t n = strlen(address);

	return part && strncasecmp(part + 1, address, n) == 0 && part[n + 1] == '/';
}

/* Two devices with UUIDs of their own may be parts of what is plugged in there. */
static bool is_same_device(const struct segment *seg, unsigned r, const char *name, const char *address)
{
	return strcasecmp(seg->limits->header.region[r].address, address) == 0 &&
	       (is_named_by(name, address) || is_named_by(region_name(seg, r), address));
}

int region_find_device(const struct segment *seg, const char *name, const char *address, unsigned *ret_resource)
{
	if (region_find(seg, name, ret_resource) == 0)
		return 0;
	for (unsigned r = RESOURCE_REGION_FIRST; *address && r < RESOURCES_MAX; r++)
		if (is_used(seg, r) && is_same_device(seg, r, name, address)) {
			*ret_resource = r;
			return 0;
		}
	return -ENODEV;
}

unsigned region_next(const struct segment *seg, unsigned from)
{
	unsigned r = from < RESOURCE_REGION_FIRST ? RESOURCE_REGION_FIRST : from;

	while (r < RESOURCES_MAX && (!is_used(seg, r) || strcmp(region_name(seg, r), REGION_ALL) == 0))
		r++;
	return r;
}

/* ---- aliases --------------------------------------------------------------------------------------------- */

/* By address, then by name. */
static bool comes_before(const struct segment *seg, unsigned a, unsigned b)
{
	int order = strcmp(seg->limits->header.region[a].address, seg->limits->header.region[b].address);

	return order ? order < 0 : strcmp(region_name(seg, a), region_name(seg, b)) < 0;
}

static unsigned rank(const struct segment *seg, unsigned resource)
{
	unsigned before = 0;

	for (unsigned r = region_next(seg, 0); r < RESOURCES_MAX; r = region_next(seg, r + 1))
		before += comes_before(seg, r, resource);
	return before;
}

static bool is_number(const char *text, unsigned number)
{
	char *end;

	return isdigit((unsigned char)*text) && (text[0] != '0' || !text[1]) && strtoul(text, &end, 10) == number &&
	       *end == 0;
}

/* "GPU-<uuid>" of "cuda/GPU-<uuid>/vram". */
static bool is_part(const char *name, const char *text)
{
	const char *part = strchr(name, '/');
	size_t n = strlen(text);

	return part && strncmp(part + 1, text, n) == 0 && part[n + 1] == '/';
}

static bool is_called(const struct segment *seg, unsigned resource, const char *text)
{
	const char *address = seg->limits->header.region[resource].address;

	return strcmp(region_name(seg, resource), text) == 0 || is_part(region_name(seg, resource), text) ||
	       (*address && strcasecmp(address, text) == 0) ||
	       (strncmp(text, "gpu", 3) == 0 && is_number(text + 3, rank(seg, resource)));
}

int region_find_alias(const struct segment *seg, const char *text, unsigned *ret_resource)
{
	for (unsigned r = region_next(seg, 0); r < RESOURCES_MAX; r = region_next(seg, r + 1))
		if (is_called(seg, r, text)) {
			*ret_resource = r;
			return 0;
		}
	return -ENODEV;
}

/* ---- registering ----------------------------------------------------------------------------------------- */

static unsigned find_free(const struct segment *seg)
{
	unsigned r = RESOURCE_REGION_FIRST;

	while (r < RESOURCES_MAX && is_used(seg, r))
		r++;
	return r;
}

/* Rows of all groups that were made so far; later ones get theirs when they are made. */
static int populate(struct segment *seg, unsigned r, uint32_t groups)
{
	int err = segment_populate(seg, seg->limits->limits[r], groups * sizeof(struct limits));

	return err ? err : segment_populate(seg, seg->counters->pool[r], groups * sizeof(struct pool));
}

static void copy_limits(struct limits *to, const struct limits *from)
{
	mc_store_relaxed(&to->min, from ? mc_load_relaxed(&from->min) : 0);
	mc_store_relaxed(&to->low, from ? mc_load_relaxed(&from->low) : 0);
	mc_store_relaxed(&to->high, from ? mc_load_relaxed(&from->high) : PAGES_MAX);
	mc_store_relaxed(&to->max, from ? mc_load_relaxed(&from->max) : PAGES_MAX);
	mc_store_relaxed(&to->soft, PAGES_MAX);
}

static void fill_groups(struct segment *seg, unsigned r, uint32_t groups)
{
	unsigned all = 0;
	bool have_all = region_find(seg, REGION_ALL, &all) == 0;

	for (uint32_t g = 0; g < groups; g++) {
		copy_limits(&seg->limits->limits[r][g], have_all ? &seg->limits->limits[all][g] : NULL);
		pool_clear_statistics(seg, r, (uint16_t)g);
		while (!pool_join_epoch(seg, r, (uint16_t)g))
			(void)recount_wait(seg, r);
	}
}

static int add(struct segment *seg, const char *name, unsigned *ret_resource)
{
	uint32_t groups = mc_load_relaxed(&seg->limits->header.groups_used);
	unsigned r = find_free(seg);
	int err;

	if (r == RESOURCES_MAX)
		return -ENOSPC;
	err = populate(seg, r, groups);
	if (err)
		return err == -ENOSPC ? -ENOMEM : err;
	fill_groups(seg, r, groups);
	seg->limits->header.region[r].unit = REGION_UNIT;
	strcpy(seg->limits->header.region[r].name, name);
	mc_store_release(&seg->limits->header.region[r].used, 1);
	*ret_resource = r;
	return 0;
}

int region_register(struct segment *seg, const char *name, const char *address, uint64_t capacity,
		    unsigned *ret_resource)
{
	unsigned r = 0;
	int err = region_check_name(name);

	if (!err && strlen(address) > REGION_ADDRESS_MAX)
		err = -EINVAL;
	if (!err && region_find_device(seg, name, address, &r) < 0)
		err = add(seg, name, &r);
	if (err)
		return err;
	if (*address && !seg->limits->header.region[r].address[0])
		strcpy(seg->limits->header.region[r].address, address);
	if (capacity)
		mc_store_relaxed(&seg->limits->header.region[r].capacity, capacity);
	*ret_resource = r;
	return 0;
}
