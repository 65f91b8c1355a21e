/*
 * What is answered when something is refused or failed: a code for programs, a sentence, and what
 * can be done about it. What an errno means to people is said here and nowhere else.
 */
#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "tagger/tagger.h"
#include "banned.h"

#define MESSAGE_MAX 512

/* What to do, for each code. */
static const struct {
	const char *code, *hint;
} hints[] = {
	{"bad_method", "weft-api(7) describes the API."},
	{"bad_range", "Ask for a part that is there."},
	{"bad_request", "weft-api(7) describes the API."},
	{"bad_search",
	 "Narrow it by tag:, name:, kind:, size:, date:, in: or is:, and put a phrase "
	 "in quotation marks."},
	{"bad_tag", "Choose another one, or a shorter one."},
	{"busy", "Try again in a moment."},
	{"exists", "Choose another name, or delete what is there first."},
	{"failed", "Look at tagger's messages, and at those of the kernel (dmesg)."},
	{"full", "Delete what is not needed, and empty the bin; or let an admin make the volume "
		 "larger."},
	{"is_folder", "Choose a file."},
	{"name_too_long", "Choose a shorter name."},
	{"no_such_path", "weft-api(7) describes the API."},
	{"no_token", "It is in the file that was given with --token-file."},
	{"not_allowed", "Ask who shared it with you, or an admin."},
	{"not_empty", "Delete what is in it first."},
	{"not_found", "It may have been moved or deleted: look for it again."},
	{"not_possible", "Choose a file of another kind."},
	{"read_only",
	 "The file system may be mounted for reading only: look at the messages of the "
	 "kernel (dmesg)."},
	{"stuck", "Look at the free space where the index is, and at tagger's messages."},
	{"superseded", "Look what is there now, and begin anew."},
	{"too_large", "Choose something smaller."},
};

static const struct {
	int err, status;
	const char *code, *says;
} known[] = {
	{-ENOENT, 404, "not_found", "there is nothing of this name"},
	{-ENOTDIR, 404, "not_found", "a part of the path is no folder"},
	{-ELOOP, 404, "not_found", "links are not followed"},
	{-EXDEV, 404, "not_found", "it lies on another file system"},
	{-EACCES, 403, "not_allowed", "this is not allowed"},
	{-EPERM, 403, "not_allowed", "the system does not allow it"},
	{-EROFS, 403, "read_only", "nothing can be changed here"},
	{-EEXIST, 409, "exists", "there is something of this name already"},
	{-ENOTEMPTY, 409, "not_empty", "it is not empty"},
	{-EISDIR, 409, "is_folder", "it is a folder"},
	{-EINVAL, 400, "bad_request", "this name or place cannot be used"},
	{-ENAMETOOLONG, 400, "name_too_long", "the name is too long"},
	{-ENOSPC, 507, "full", "no space is left on the disk"},
	{-EDQUOT, 507, "full", "no more space may be used on the disk"},
	{-EAGAIN, 503, "busy", "too much is being done at this moment"},
	{-ENOTSUP, 404, "not_possible", "this is not possible with it"},
	{-EFBIG, 413, "too_large", "it is too large"},
	{-EBADMSG, 400, "bad_request", "what was sent is damaged"},
	{-ECANCELED, 409, "superseded", "something else has taken its place"},
};

static const char *refuse_hint(const char *code)
{
	for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++)
		if (strcmp(hints[i].code, code) == 0)
			return hints[i].hint;
	return "";
}

void api_error(struct http_request *r, int status, const char *code, const char *fmt, ...)
{
	char text[MESSAGE_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	api_json(r, status,
		 json_pack("{s:{s:s, s:o, s:s}}", "error", "code", code, "message",
			   api_text(text, strlen(text)), "hint", refuse_hint(code)));
}

void api_errno(struct http_request *r, int err, const char *what)
{
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].err == err) {
			api_error(r, known[i].status, known[i].code, "%s: %s.", what,
				  known[i].says);
			return;
		}
	log_error("%s: %s", what, strerror(-err));
	api_error(r, 500, "failed", "%s: %s.", what, strerror(-err));
}
