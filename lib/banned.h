/* Calls that do not compile in this project. Include it after the system's headers. */
#ifndef WEFT_BANNED_H
#define WEFT_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WEFT_BANNED(func) banned_call_##func##_see_lib_banned_h

#undef strcpy
#define strcpy(x, y) WEFT_BANNED(strcpy)
#undef strcat
#define strcat(x, y) WEFT_BANNED(strcat)
#undef strncpy
#define strncpy(x, y, n) WEFT_BANNED(strncpy)
#undef strncat
#define strncat(x, y, n) WEFT_BANNED(strncat)
#undef sprintf
#define sprintf(...) WEFT_BANNED(sprintf)
#undef vsprintf
#define vsprintf(...) WEFT_BANNED(vsprintf)
#undef strtok
#define strtok(x, y) WEFT_BANNED(strtok)
#undef atoi
#define atoi(x) WEFT_BANNED(atoi)
#undef atol
#define atol(x) WEFT_BANNED(atol)
#undef gmtime
#define gmtime(t) WEFT_BANNED(gmtime)
#undef localtime
#define localtime(t) WEFT_BANNED(localtime)

#endif
