/* SPDX-License-Identifier: MIT */
/* memctl-top, memctl-plot, memctl-export: what memctl runs for these commands. */
#include "memctl/command.h"

#include <locale.h>

int main(int argc, char **argv)
{
	(void)setlocale(LC_CTYPE, "");
	argp_err_exit_status = SAY_USAGE;
	return VIEW(argc, argv);
}
