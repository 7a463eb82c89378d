/* SPDX-License-Identifier: MIT */
/* What the parts of the client by dictation share. */
#ifndef TESTS_DEVICE_CLIENT_H
#define TESTS_DEVICE_CLIENT_H

typedef unsigned long long number;

/* What was kept, by number. */
extern number kept[200000];

/* A driver's function by its name; results are pointers, so no wider than that; what a function
 * does not take it ignores. */
int client_call(const char *name, number a, number b, number c, number d, number e, number f, number g);

/* Say a result and a value; or keep the value, and say where. */
void client_answer(int result, number value);
void client_keep(int result, number value);

/* "2M", "0x10", "7". */
number client_size(const char *word);

/* Commands about what else holds memory (client_holders.c). 0: it is none of these. */
int client_obey_holders(char **words);

#endif
