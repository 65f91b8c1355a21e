# What the tests and the harness share: find our programs, run commands with a time-out, start daemons
# and learn from their ready file descriptor where they listen, wait for events, and leave nothing
# behind. Every wait has a limit and dies with a sentence when it is reached.
package Weft;

use strict;
use warnings;

use Cwd qw(abs_path);
use Exporter qw(import);
use Fcntl qw(F_GETFD F_SETFD FD_CLOEXEC);
use File::Basename qw(dirname);
use File::Path qw(make_path);
use File::Temp ();
use JSON::PP ();
use POSIX qw(WNOHANG);
use Time::HiRes qw(time);

our @EXPORT = qw(src_dir build_dir program tool have need skip_all temp_dir run run_ok slurp spew
    daemon_start daemon_stop pid_alive pid_wait pid_start_time wait_until json_decode json_encode
    line_read at_end parse_size);

# Numbers of system calls that Perl has no function for.
use constant SYS_PIDFD_OPEN => 434; # the same everywhere
my %SYS_PRCTL = (x86_64 => 157, aarch64 => 167);
use constant PR_SET_PDEATHSIG => 1;

# For machines that are several times slower than any of ours, and busy.
use constant RUN_TIMEOUT_S   => 120;
use constant START_TIMEOUT_S => 90;
use constant STOP_TIMEOUT_S  => 90;
use constant RUN_OUTPUT_MAX  => 64 << 20;

my $src = abs_path(dirname(__FILE__) . '/../..');
my @at_end;
my $owner = $$;

$SIG{TERM} = $SIG{INT} = $SIG{HUP} = sub { exit 1 };
$SIG{PIPE} = 'IGNORE';

# ---- where things are -------------------------------------------------------

sub src_dir { return $src }

sub build_dir
{
	my $dir = $ENV{WEFT_BUILD} // "$src/build";
	return abs_path($dir) // $dir;
}

# The path of one of our programs in the build tree, or undef.
sub program
{
	my ($name) = @_;
	for my $dir ('', 'nbdsrv/', 'volmgr/', 'tagger/') {
		my $path = build_dir() . "/$dir$name";
		return $path if -f $path && -x _;
	}
	return undef;
}

# The path of a foreign program, or undef. Looks in the sbin folders too: they are not in every PATH.
sub tool
{
	my ($name) = @_;
	for my $dir (split(/:/, $ENV{PATH} // ''), '/usr/sbin', '/sbin', '/usr/bin', '/bin') {
		return "$dir/$name" if -f "$dir/$name" && -x _;
	}
	return undef;
}

sub have
{
	my ($name) = @_;
	return program($name) // tool($name);
}

sub skip_all
{
	my ($why) = @_;
	print "1..0 # SKIP $why\n";
	exit 0;
}

# Skips the whole test when one of these programs is missing.
sub need
{
	for my $name (@_) {
		next if have($name);
		skip_all("$name is not built in " . build_dir()) if $name =~ /\A(?:nbdsrv|volmgr|volctl|tagger)\z/;
		skip_all("$name is not there; 'sudo t/packages check' installs what the tests need");
	}
	return;
}

# ---- small things -----------------------------------------------------------

sub at_end { push @at_end, @_; return }

# What is mounted below a folder goes, the innermost first, so that removing the folder removes no more.
sub unmount_below
{
	my ($dir) = @_;
	for my $at (reverse(slurp('/proc/self/mounts') =~ m{^\S+ (\Q$dir\E/\S+) }mg)) {
		run('umount', '-l', $at);
	}
	return;
}

# A private directory that goes away at the end. Short, as socket paths are limited to 107 bytes.
sub temp_dir
{
	my $dir = File::Temp::tempdir('weft-XXXXXX', TMPDIR => 1);
	at_end(sub {
		unmount_below($dir);
		File::Path::remove_tree($dir);
	});
	return $dir;
}

sub slurp
{
	my ($path) = @_;
	open(my $fh, '<:raw', $path) or die "$path: $!\n";
	local $/ = undef;
	return scalar(<$fh>) // '';
}

# Write a file so that nobody sees half of it.
sub spew
{
	my ($path, $text) = @_;
	open(my $fh, '>:raw', "$path.new") or die "$path.new: $!\n";
	print $fh $text;
	close($fh) or die "$path.new: $!\n";
	rename("$path.new", $path) or die "$path: $!\n";
	return;
}

my $json = JSON::PP->new->canonical->allow_nonref;
sub json_decode { return $json->decode($_[0]) }
sub json_encode { return $json->encode($_[0]) }

# 512M, 1.5G, 4096 in bytes.
sub parse_size
{
	my ($text) = @_;
	my %power = ('' => 0, K => 1, M => 2, G => 3, T => 4, P => 5);
	$text =~ /\A([0-9]+(?:\.[0-9]+)?)([KMGTP]?)(?:i?B)?\z/i
	    or die "'$text' is not a size: say for example 512M or 1.5G\n";
	return int($1 * 1024**$power{uc $2});
}

# Calls fn until it returns something true, which is returned; dies after timeout seconds.
sub wait_until
{
	my ($what, $timeout, $fn) = @_;
	my $end = time + $timeout;
	while (1) {
		my $got = $fn->();
		return $got if $got;
		die "waited $timeout s in vain for $what\n" if time >= $end;
		select(undef, undef, undef, 0.05);
	}
}

sub wait_readable
{
	my ($fd, $seconds) = @_;
	my $bits = '';
	vec($bits, $fd, 1) = 1;
	my $n = select($bits, undef, undef, $seconds > 0 ? $seconds : 0);
	return $n > 0;
}

# One line from a pipe or socket, without its end; undef at the end of file; dies on time-out.
# The handle must be read by nothing else, as no buffer is kept: bytes are taken one by one.
sub line_read
{
	my ($fh, $timeout) = @_;
	my ($line, $end) = ('', time + $timeout);
	while (1) {
		wait_readable(fileno($fh), $end - time)
		    or die "waited $timeout s in vain for a line (so far: '$line')\n";
		my $n = sysread($fh, my $c, 1);
		next if !defined $n && $!{EINTR};
		return $line eq '' ? undef : $line if !$n;
		return $line if $c eq "\n";
		$line .= $c;
	}
}

# ---- processes --------------------------------------------------------------

# Start time in clock ticks since boot, which tells a process from a later one of the same number;
# undef when there is none or it is a zombie.
sub pid_start_time
{
	my ($pid) = @_;
	open(my $fh, '<', "/proc/$pid/stat") or return undef;
	my $line = <$fh> // return undef;
	$line =~ s/\A.*\) //s;
	my @field = split(/ /, $line);
	return $field[0] =~ /[ZX]/ ? undef : $field[19];
}

sub pid_alive { return defined pid_start_time($_[0]) }

# Waits for the end of a process, also one that is not our child: 1, or 0 after the time-out.
sub pid_wait
{
	my ($pid, $timeout) = @_;
	my $fd = syscall(SYS_PIDFD_OPEN, $pid + 0, 0);
	if ($fd >= 0) {
		my $end = time + $timeout;
		my $gone;
		do { $gone = wait_readable($fd, $end - time) } while (!$gone && time < $end);
		POSIX::close($fd);
		waitpid($pid, WNOHANG);
		return $gone ? 1 : 0;
	}
	my $gone = eval {
		wait_until("the end of process $pid", $timeout, sub {
			waitpid($pid, WNOHANG);
			return !pid_alive($pid);
		});
	};
	return $gone ? 1 : 0;
}

sub die_with_parent
{
	my $nr = $SYS_PRCTL{ (POSIX::uname())[4] };
	syscall($nr, PR_SET_PDEATHSIG, 9) if defined $nr;
	return;
}

sub collect
{
	my ($pid, $out, $err, $end) = @_;
	my %text = (out => '', err => '');
	my %open = (out => $out, err => $err);
	while (%open) {
		my $bits = '';
		vec($bits, fileno($_), 1) = 1 for values %open;
		my $left = $end - time;
		return (\%text, 1) if $left <= 0;
		my $n = select($bits, undef, undef, $left);
		next if $n <= 0;
		for my $name (keys %open) {
			next if !vec($bits, fileno($open{$name}), 1);
			my $got = sysread($open{$name}, $text{$name}, 65536, length $text{$name});
			delete $open{$name} if !$got && !(!defined $got && $!{EINTR});
		}
		return (\%text, 1) if length($text{out}) > RUN_OUTPUT_MAX;
	}
	return (\%text, 0);
}

# Runs a command to its end: { status, out, err, timed_out }. status is 0..255 or 128 + signal. Options
# in a hash before the command: timeout (s), dir, env => { NAME => value }, stdin => text.
sub run
{
	my $opt = ref $_[0] eq 'HASH' ? shift : {};
	my @argv = @_;
	my $timeout = $opt->{timeout} // RUN_TIMEOUT_S;
	my $in = File::Temp::tempfile();
	syswrite($in, $opt->{stdin} // '');
	sysseek($in, 0, 0);
	pipe(my $out_r, my $out_w) or die "pipe: $!\n";
	pipe(my $err_r, my $err_w) or die "pipe: $!\n";
	my $pid = fork() // die "fork: $!\n";
	if (!$pid) {
		setpgrp(0, 0);
		die_with_parent();
		POSIX::dup2(fileno($in), 0);
		POSIX::dup2(fileno($out_w), 1);
		POSIX::dup2(fileno($err_w), 2);
		$ENV{$_} = $opt->{env}{$_} for keys %{ $opt->{env} // {} };
		chdir($opt->{dir}) or POSIX::_exit(126) if defined $opt->{dir};
		$SIG{PIPE} = 'DEFAULT';
		{ no warnings 'exec'; exec { $argv[0] } @argv; }
		syswrite(STDERR, "$argv[0]: $!\n");
		POSIX::_exit(127);
	}
	close($_) for $out_w, $err_w, $in;
	my ($text, $late) = collect($pid, $out_r, $err_r, time + $timeout);
	if ($late) {
		kill('KILL', -$pid);
		$text->{err} .= "\n$argv[0]: not finished after $timeout s, killed\n";
	}
	waitpid($pid, 0);
	my $status = $? & 127 ? 128 + ($? & 127) : $? >> 8;
	return { status => $late ? 124 : $status, timed_out => $late, %$text };
}

# As run(), and dies when the command fails; returns what it wrote.
sub run_ok
{
	my $got = run(@_);
	return $got->{out} if $got->{status} == 0;
	my @argv = grep { !ref } @_;
	die "'@argv' failed with $got->{status}: $got->{err}$got->{out}\n";
}

# ---- daemons ----------------------------------------------------------------

sub daemon_exec
{
	my ($opt, $ready) = @_;
	my @argv = @{ $opt->{argv} };
	my $fd = fileno($ready);
	open(STDIN,  '<',  '/dev/null')  or POSIX::_exit(126);
	open(STDOUT, '>>', $opt->{log})  or POSIX::_exit(126);
	open(STDERR, '>&', \*STDOUT)     or POSIX::_exit(126);
	fcntl($ready, F_SETFD, fcntl($ready, F_GETFD, 0) & ~FD_CLOEXEC);
	syswrite($ready, "pid=$$\n");
	$SIG{PIPE} = 'DEFAULT';
	push @argv, '--ready-fd', $fd if !$opt->{no_ready};
	push @argv, @{ $opt->{positional} // [] };
	{ no warnings 'exec'; exec { $argv[0] } @argv; }
	syswrite(STDERR, "$argv[0]: $!\n");
	POSIX::_exit(127);
}

# Starts a daemon and waits until it says on its ready descriptor that it serves. Options: name, argv,
# positional (arguments behind the options), log (file, appended), detach (it outlives us), timeout,
# no_ready (a foreign daemon: do not wait).
# Returns { name, pid, log, listen => [...], http => ..., socket => ... }.
sub daemon_start
{
	my (%opt) = @_;
	make_path(dirname($opt{log}));
	my $timeout = $opt{timeout} // START_TIMEOUT_S;
	pipe(my $r, my $w) or die "pipe: $!\n";
	my $pid = fork() // die "fork: $!\n";
	if (!$pid) {
		POSIX::setsid();
		if ($opt{detach}) {
			my $grandchild = fork() // POSIX::_exit(126);
			POSIX::_exit(0) if $grandchild;
		} else {
			die_with_parent();
		}
		daemon_exec(\%opt, $w);
	}
	close($w);
	waitpid($pid, 0) if $opt{detach};
	my $daemon = { name => $opt{name}, log => $opt{log}, listen => [], detach => $opt{detach} };
	eval { daemon_ready($daemon, $r, $timeout, $opt{no_ready}); 1 } or do {
		my $why = $@;
		kill('KILL', $daemon->{pid}) if $daemon->{pid};
		waitpid($pid, 0) if !$opt{detach};
		die "$opt{name} did not start: $why" . log_tail($opt{log});
	};
	at_end(sub { daemon_stop($daemon, 'KILL') if pid_alive($daemon->{pid}) }) if !$opt{detach};
	return $daemon;
}

sub daemon_ready
{
	my ($daemon, $r, $timeout, $no_ready) = @_;
	my $end = time + $timeout;
	my $ready = 0;
	while (defined(my $line = line_read($r, $end - time))) {
		my ($key, $value) = $line =~ /\A([a-z]+)=(.*)\z/ or die "unclear line '$line'\n";
		if ($key eq 'listen') {
			push @{ $daemon->{listen} }, $value;
		} else {
			$daemon->{$key} = $value;
		}
		$ready = 1 if $key ne 'pid';
		return if $no_ready;
	}
	die "it ended before it was ready\n" if !$ready;
	return;
}

sub log_tail
{
	my ($path) = @_;
	my @lines = split(/\n/, eval { slurp($path) } // '');
	splice(@lines, 0, @lines - 15) if @lines > 15;
	return @lines ? "the end of $path:\n" . join('', map { "    $_\n" } @lines) : '';
}

# Signals a daemon (TERM unless told otherwise) and waits for its end; dies when it stays.
sub daemon_stop
{
	my ($daemon, $signal, $timeout) = @_;
	my $pid = $daemon->{pid};
	$timeout //= STOP_TIMEOUT_S;
	if (pid_alive($pid)) {
		kill($signal // 'TERM', $pid);
		if (!pid_wait($pid, $timeout)) {
			kill('KILL', $pid);
			pid_wait($pid, 5);
			die "$daemon->{name} (process $pid) did not stop in $timeout s\n";
		}
	}
	waitpid($pid, WNOHANG);
	return;
}

END {
	if ($$ == $owner) {
		my $status = $?;
		local $@;
		for my $fn (reverse @at_end) {
			eval { $fn->(); 1 } or warn "at the end: $@";
		}
		$? = $status;
	}
}

1;
