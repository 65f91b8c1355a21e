/* Sizes: what people write is understood exactly, what is printed can be read again. */
#include "config.h"

#include <errno.h>

#include "size.h"
#include "tap.h"

static void parses(const char *text, uint64_t want)
{
	uint64_t got = 1;
	const char *why = NULL;

	is_int(size_parse(text, &got, &why), 0, text);
	ok(got == want, "  and has the right value");
}

static void refuses(const char *text, int want)
{
	uint64_t got;
	const char *why = NULL;

	is_int(size_parse(text, &got, &why), want, *text != '\0' ? text : "(nothing)");
	ok(why != NULL && *why != '\0', "  and says why");
}

static void prints(uint64_t bytes, const char *want)
{
	char buf[SIZE_TEXT_MAX];

	is_str(size_format(bytes, buf), want, want);
}

int main(void)
{
	static const char *const bad[] = {"",	 "G",	 "-1",	 "1.G",	 ".5G",
					  "1.5", "10Gb", "10GB", "1 0G", "0x10",
					  "10Q", "1e9",	 " 1",	 "+1",	 "1.0000000001G"};

	parses("0", 0);
	parses("4096", 4096);
	parses("4096B", 4096);
	parses("512M", 512ULL << 20);
	parses("10G", 10ULL << 30);
	parses("10g", 10ULL << 30);
	parses("10GiB", 10ULL << 30);
	parses("10 GiB", 10ULL << 30);
	parses("1.5T", 3ULL << 39);
	parses("1.5 GiB", 3ULL << 29);
	parses("1P", 1ULL << 50);
	parses("15E", 15ULL << 60);
	parses("1.1G", 1181114368); /* 1181116006.4 rounded down to 4096 */
	parses("18446744073709551615", UINT64_MAX);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		refuses(bad[i], -EINVAL);
	refuses("16E", -ERANGE);
	refuses("99999999999999999999", -ERANGE);
	prints(0, "0 B");
	prints(1023, "1023 B");
	prints(1024, "1 KiB");
	prints(1536, "1.5 KiB");
	prints(10ULL << 30, "10 GiB");
	prints((1ULL << 30) - 1, "1 GiB");
	prints(1288490189, "1.2 GiB");
	prints(1ULL << 50, "1 PiB");
	prints(UINT64_MAX, "16 EiB");
	return done_testing();
}
