#!/usr/bin/perl
# nbdsrv --store: making a store, starting and stopping it, and every refusal with what to do. What a
# store does with requests is the subject of t/unit/store*.t and of the cluster's tests.

use strict;
use warnings;

use Fcntl qw(:flock);
use File::Basename qw(dirname);
use POSIX ();
use lib dirname(__FILE__) . '/lib';
use Test::More;
use Weft;

need(qw(nbdsrv nbdinfo));

my $dir = temp_dir();
my $nbdsrv = program('nbdsrv');

sub make_secret
{
	my ($name) = @_;
	spew("$dir/$name", join('', map { sprintf('%02x', int(rand(256))) } 1 .. 32) . "\n");
	chmod(0600, "$dir/$name");
	return "$dir/$name";
}

my $secret = make_secret('secret');
my @store = ('--store', "$dir/a", '--secret', $secret);

sub refused
{
	my ($name, $like, @args) = @_;
	my $got = run({ timeout => 60 }, $nbdsrv, @args);
	ok($got->{status} == 1 && $got->{err} =~ $like, $name)
	    or diag("status $got->{status}: $got->{err}");
	return;
}

sub start
{
	return daemon_start(name => 'nbdsrv', log => "$dir/log",
		argv => [$nbdsrv, @store, '--listen', "unix:$dir/s", @_]);
}

# Sends a signal and returns the exit status.
sub end_status
{
	my ($d) = @_;
	kill('TERM', $d->{pid});
	wait_until('the end of nbdsrv', 60, sub { waitpid($d->{pid}, 1) == $d->{pid} });
	return $?;
}

# ---- making one -------------------------------------------------------------

refused('no store, no service', qr/there is no store at .*--format/, @store, '--listen', "unix:$dir/s");
refused('a size is needed', qr/--size/, @store, '--format');
ok(!-e "$dir/a/store", 'and nothing stays behind');
refused('64 MiB at least', qr/at least 64 MiB/, @store, qw(--format --size 1M));
like(run_ok($nbdsrv, @store, qw(--format --size 256M)), qr{a/store: a new store of 256 MiB},
	'a directory gets a file for its store');
is(-s "$dir/a/store", 256 << 20, 'of the size that was asked for');
ok((stat("$dir/a/store"))[12] * 512 < 64 << 20, 'and sparse');
refused('not over another store', qr/holds a store already.*--force/, @store,
	qw(--format --size 256M));
spew("$dir/precious", 'x' x (70 << 20));
refused('nor over other data', qr/holds something else.*--force/, '--store', "$dir/precious",
	'--secret', $secret, '--format');
is(slurp("$dir/precious"), 'x' x (70 << 20), 'which is untouched');
is(run($nbdsrv, '--store', "$dir/precious", '--secret', $secret, '--format', '--force')->{status}, 0,
	'unless forced; then its size is the size');
refused('a secret that others may read', qr/others than its owner/, '--store', "$dir/b", '--format', '--size', '64M',
	'--secret', do { my $s = make_secret('open'); chmod(0644, $s); $s });

# ---- serving ----------------------------------------------------------------

my $d = start();
is_deeply($d->{listen}, ["unix:$dir/s"], 'it says where it listens');
my $list = json_decode(run_ok('nbdinfo', '--list', '--json', "nbd+unix:///?socket=$dir/s"));
is_deeply($list->{exports}, [], 'strangers are told of no export');
isnt(run('nbdinfo', "nbd+unix:///weft-store?socket=$dir/s")->{status}, 0, 'and get none');
refused('one nbdsrv a store', qr/in use by another process/, @store, '--listen', "unix:$dir/t");
refused('no new store under it', qr/in use/, @store, qw(--format --force --size 256M));
is(end_status($d), 0, 'SIGTERM ends it in order');
ok(!-e "$dir/s", 'its socket is gone');
$d = start();
kill('KILL', $d->{pid});
waitpid($d->{pid}, 0);
$d = start();
ok(pid_alive($d->{pid}), 'it starts after SIGKILL; the old socket file is no hindrance');
is(end_status($d), 0, 'and ends in order');
open(my $held, '+<', "$dir/a/store") or die $!;
flock($held, LOCK_EX) or die $!;
my $holder = fork() // die $!;
if (!$holder) {
	select(undef, undef, undef, 0.5);
	POSIX::_exit(0);
}
close($held);
$d = start();
ok(pid_alive($d->{pid}), 'it waits for the end of the lock of a process that dies');
is(end_status($d), 0, 'and ends in order');
waitpid($holder, 0);

# ---- refusals ---------------------------------------------------------------

refused('a store of another cluster', qr/belongs to another cluster.*--secret/, '--store', "$dir/a",
	'--secret', make_secret('other'), '--listen', "unix:$dir/t");
spew("$dir/nothing", "\0" x (70 << 20));
refused('a file without a store', qr/nothing: .*--format/s, '--store', "$dir/nothing", '--secret',
	$secret, '--listen', "unix:$dir/t");
is(run($nbdsrv, '--store', "$dir/a", '--listen', "unix:$dir/t")->{status}, 2,
	'a store is not served without a secret');

sub damage
{
	my ($offset, $len) = @_;
	open(my $fh, '+<', "$dir/a/store") or die "$dir/a/store: $!\n";
	sysseek($fh, $offset, 0);
	syswrite($fh, join('', map { chr(int(rand(256))) } 1 .. $len));
	close($fh);
	return;
}

truncate("$dir/a/store", 128 << 20) or die "truncate: $!\n";
refused('a store whose file was cut short', qr{a/store: }, @store, '--listen', "unix:$dir/t");
truncate("$dir/a/store", 256 << 20) or die "truncate: $!\n";
damage(0, 2 << 20);
refused('a damaged store', qr{a/store: }, @store, '--listen', "unix:$dir/t");
unlike(slurp("$dir/log"), qr/AddressSanitizer|runtime error/, 'nothing was found by a sanitizer');
done_testing();
