/*
 * Telling whoever started a daemon that it serves: lines on a file descriptor (--ready-fd), and the
 * message that systemd waits for (sd_notify(3), Type=notify), without its library.
 */
#ifndef WEFT_READY_H
#define WEFT_READY_H

/* One line "key=value" on fd; fd < 0: nothing. */
void ready_line(int fd, const char *key, const char *value);
/* All lines are out: close fd (when >= 0), and send READY=1 to NOTIFY_SOCKET when it is set. */
void ready_done(int fd);
/* STOPPING=1 to NOTIFY_SOCKET when it is set. */
void ready_stopping(void);

#endif
