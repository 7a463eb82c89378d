/* SPDX-License-Identifier: MIT */
/* Level Zero: what we look at of its structures, and the functions that stand in for those of its
 * tables, made by wrappers.c for each copy of the loader. */
#ifndef DEVICE_ZE_H
#define DEVICE_ZE_H

#include "device/cuda.h"

/* What the tables of a copy had: `real` alone is of use. */
extern struct copy ze_tables[COPIES];

enum {
	ZE_TYPE_MEMORY = 0x7,
	ZE_TYPE_PCI = 0x10008,
};

struct ze_memory {
	int type;
	void *next;
	unsigned flags, clock, width;
	uint64_t size;
	char name[256];
};

struct ze_pci {
	int type;
	void *next;
	unsigned domain, bus, device, function;
	int generation, width;
	int64_t bandwidth;
};

#define DECLARE_CUDA(name, parameters)
#define DECLARE_NVML(name, parameters)
#define DECLARE_HIP(name, parameters)
#define DECLARE_ZE(name, parameters) \
	int name##_of_table_0 parameters; \
	int name##_of_table_1 parameters; \
	int name##_of_table_2 parameters;
#define CALL(library, name, base, version, per_thread, parameters, arguments, sentence) \
	DECLARE_##library(name, parameters)
#define CALL0(library, name, base, version, per_thread, sentence)
#define PASS CALL
#include "device/calls.def"
#undef CALL
#undef CALL0
#undef PASS

#endif
