/* Copies that survive SIGBUS; see guard.h. */
#include "config.h"

#include "guard.h"

#include <assert.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#include "banned.h"

static _Thread_local sigjmp_buf guard_back;
static _Thread_local volatile sig_atomic_t guarded; /* a copy of this thread is under way */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static const char last_words[] = "a page of a mapped file cannot be had, so this process ends: no "
				 "space is left there, the disk "
				 "failed, or the file was made shorter\n";

/* The jump leaves the handler without returning, so the mask of before is put back here: saving it
 * at each copy would be a system call. */
static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	if (guarded) {
		pthread_sigmask(SIG_SETMASK, &((ucontext_t *)context)->uc_sigmask, NULL);
		siglongjmp(guard_back, 1);
	}
	if (write(STDERR_FILENO, last_words, sizeof(last_words) - 1) < 0)
		(void)0;      /* nobody can be told */
	signal(sig, SIG_DFL); /* the same access again ends the process */
}

static void guard_install(void)
{
	struct sigaction sa = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};
	int err;

	sigemptyset(&sa.sa_mask);
	err = sigaction(SIGBUS, &sa, NULL);
	assert(err == 0);
}

void guard_begin(void)
{
	pthread_once(&once, guard_install);
}

bool guard_copy(void *dst, const void *src, size_t len)
{
	guard_begin();
	if (sigsetjmp(guard_back, 0) != 0) {
		guarded = 0;
		return false;
	}
	guarded = 1;
	atomic_signal_fence(memory_order_seq_cst); /* the copy stays between */
	memcpy(dst, src, len);
	atomic_signal_fence(memory_order_seq_cst);
	guarded = 0;
	return true;
}
