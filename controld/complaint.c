/* SPDX-License-Identifier: MIT */
/* One sentence for a person. */
#include "controld/complaint.h"

#include <stdarg.h>
#include <stdio.h>

/* What a client sent may be quoted in it, cut anywhere: nothing but ASCII is sure to be valid
 * UTF-8. */
static void make_plain(char *p)
{
	for (; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
}

int complain(struct complaint *c, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(c->text, sizeof(c->text), format, args);
	va_end(args);
	make_plain(c->text);
	return err;
}
