/* SPDX-License-Identifier: MIT */
/* The sentence behind a negative errno. */
#include "memctl/error.h"

#include "memctl/memctl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char sentence[640];

const char *memctl_error(void)
{
	return sentence;
}

int error_set(int err, const char *format, ...)
{
	char text[sizeof(sentence)]; /* an argument may be the last sentence */
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	memcpy(sentence, text, sizeof(text));
	return err;
}

int error_number(const char *name)
{
	for (int e = 1; e < 134; e++) {
		const char *known = strerrorname_np(e);

		if (known && strcmp(known, name) == 0)
			return e;
	}
	return EIO;
}
