#!/usr/bin/perl
# The guard of nbdsrv, between network namespaces: members of the cluster get through, strangers get no
# answer at all, both are counted; a new server is let in while it runs; nothing is left when it is killed.
# The second server on an interface, where XDP is taken, is guarded by traffic control.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Test::More;
use Weft;
use Weft::HTTP;

need(qw(nbdsrv volmgr volctl ip nsenter));
skip_all('network namespaces take root') if $> != 0;
my $dir = temp_dir();
my ($ip, $nsenter) = (tool('ip'), tool('nsenter'));
my %ns = map { $_ => "weft-$$-$_" } qw(switch server manager stranger);
my %host = (server => 1, manager => 2, stranger => 3);

at_end(sub { run($ip, 'netns', 'del', $_) for values %ns });
for my $name (sort keys %ns) {
	my $made = run($ip, 'netns', 'add', $ns{$name});
	skip_all("no network namespaces here: $made->{err}") if $made->{status};
	run_ok($ip, '-n', $ns{$name}, qw(link set lo up));
}
run_ok($ip, '-n', $ns{switch}, qw(link add br0 type bridge));
run_ok($ip, '-n', $ns{switch}, qw(link set br0 up));
for my $name (sort keys %host) {
	my $made = run($ip, '-n', $ns{switch}, qw(link add), $name, qw(type veth peer name eth0 netns), $ns{$name});
	skip_all("no veth here: $made->{err}") if $made->{status};
	run_ok($ip, '-n', $ns{switch}, qw(link set), $name, qw(master br0 up));
	run_ok($ip, '-n', $ns{$name}, qw(link set eth0 up));
	run_ok($ip, '-n', $ns{$name}, qw(addr add), "10.77.0.$host{$name}/24", qw(dev eth0));
	run_ok($ip, '-n', $ns{$name}, qw(addr add), "fd77::$host{$name}/64", qw(dev eth0 nodad));
}

sub in_ns { my ($name, @argv) = @_; return ($nsenter, "--net=/var/run/netns/$ns{$name}", '--', @argv) }

# What a connection ends in: "yes", "refused", or "silence" after so many seconds.
sub knock
{
	my ($name, $to, $port, $seconds) = @_;
	my $code = 'use IO::Socket::IP; use Errno qw(ECONNREFUSED);'
	    . 'my $s = IO::Socket::IP->new(PeerHost => $ARGV[0], PeerPort => $ARGV[1], Timeout => $ARGV[2]);'
	    . 'print $s ? "yes" : $! == ECONNREFUSED ? "refused" : "silence";';
	return run_ok(in_ns($name, $^X, '-e', $code, $to, $port, $seconds));
}
use constant { LONG => 30, SHORT => 0.5 };

sub server
{
	my ($name, $where, @more) = @_;
	my $path = "$dir/$name";
	if (!-e $path) {
		mkdir($path);
		run_ok(program('nbdsrv'), '--store', $path, qw(--format --size 64M --secret), "$dir/secret");
	}
	return daemon_start(name => $name, log => "$dir/$name.log", argv => [ in_ns($where, program('nbdsrv'),
		'--store', $path, '--secret', "$dir/secret", @more) ]);
}
run_ok(program('volctl'), 'cluster', 'init', '--secret', "$dir/secret");
my @listen = (qw(--listen tcp:10.77.0.1:7001 --listen), 'tcp:[fd77::1]:7001');
my $one = server('one', 'server', @listen, qw(--guard eth0));
skip_all("no guard here: $1") if slurp("$dir/one.log") =~ /no guard on eth0: (.*)/;
my ($how) = slurp("$dir/one.log") =~ /a guard on eth0 drops .*, (by .*)/;
diag("the first is guarded $how");

is(knock('stranger', '10.77.0.1', 7001, LONG), 'yes', 'until volmgr has come, it is open');
is(knock('stranger', '10.77.0.1', 22, LONG), 'refused', 'the stranger has a way to the machine');

my $volmgr = daemon_start(name => 'volmgr', log => "$dir/volmgr.log", argv => [ in_ns('manager',
	program('volmgr'), '--dir', "$dir/meta", '--secret', "$dir/secret", '--socket', "$dir/volmgr.sock",
	'--listen', 'tcp:127.0.0.1:0') ]);
sub volctl { return run_ok(program('volctl'), '--socket', "$dir/volmgr.sock", @_) }
sub wait_closed
{
	my ($times) = @_;
	return wait_until('a closed guard', 60, sub { $times == (() = slurp("$dir/one.log") =~ /the guard is closed/g) });
}
sub guard { return (http_local("$dir/volmgr.sock", 'GET', "/servers/$_[0]"))[1]{guard} // {} }

volctl(qw(server add tcp:10.77.0.1:7001 --name one));
ok(wait_closed(1), 'volmgr tells the members, and it closes');
is(knock('stranger', '10.77.0.1', 7001, SHORT), 'silence', 'a stranger gets no answer');
is(knock('manager', '10.77.0.1', 7001, LONG), 'yes', 'a member gets through');
is(knock('stranger', 'fd77::1', 7001, SHORT), 'silence', 'by IPv6 neither');
is(knock('stranger', '10.77.0.1', 22, LONG), 'refused', 'other ports are as they were');
# ---- a new member -----------------------------------------------------------

my $two = server('two', 'stranger', '--listen', 'tcp:10.77.0.3:7001', '--listen', 'tcp:[fd77::3]:7001');
volctl(qw(server add tcp:10.77.0.3:7001 --name two));
ok(wait_until('a new member', 60, sub { knock('stranger', '10.77.0.1', 7001, SHORT) eq 'yes' }),
	'a new server is let in, without a restart');
is(knock('stranger', 'fd77::1', 7001, SHORT), 'silence', 'by the address that it was added with');
ok(wait_until('counts', 60, sub { my $g = guard('one'); $g->{dropped} >= 2 && $g->{passed} > 0 }),
	'both are counted');
like(volctl(qw(server show one)), qr/^  guard +(?:xdp|tc).*: \d+ addresses may come in; \d+ packets dropped, \d+ passed$/m,
	'volctl shows it');
volctl(qw(server set two --address), 'tcp:[fd77::3]:7001');
ok(wait_until('a member elsewhere', 60, sub { knock('stranger', 'fd77::1', 7001, SHORT) eq 'yes' }), 'one that moves is let in from where it is now');
is(knock('stranger', '10.77.0.1', 7001, SHORT), 'silence', 'and no more from where it was');
volctl(qw(server set two --address), 'tcp:10.77.0.3:7001');
ok(wait_until('a member back', 60, sub { knock('stranger', '10.77.0.1', 7001, SHORT) eq 'yes' }), 'and back');
volctl(qw(server remove two));
ok(wait_until('a member less', 60, sub { knock('stranger', '10.77.0.1', 7001, SHORT) eq 'silence' }),
	'and not any more when it was removed');
daemon_stop($two);

# ---- two on one interface ---------------------------------------------------

my $three = server('three', 'server', qw(--listen tcp:10.77.0.1:7002 --guard eth0 --member 10.77.0.2));
like(slurp("$dir/three.log"), qr/a guard on eth0 drops .*, by traffic control/,
	'the second one on an interface is a filter of traffic control');
is(knock('stranger', '10.77.0.1', 7002, SHORT), 'silence', 'with members given by hand it is closed at once');
is(knock('manager', '10.77.0.1', 7002, LONG), 'yes', 'and lets these in');

# ---- the end ----------------------------------------------------------------

# The kernel keeps the sockets of a killed process until its ring has come to rest.
sub wait_refused { my ($port) = @_; return wait_until('a refusal', 60, sub { knock('stranger', '10.77.0.1', $port, LONG) eq 'refused' }) }
sub xdp { return run_ok($ip, '-n', $ns{server}, qw(-d link show eth0)) =~ /\bprog\/xdp/ }
SKIP: {
	skip('it is not at XDP here', 1) if $how !~ /XDP/;
	ok(xdp(), 'ip shows the program');
}
daemon_stop($one, 'KILL');
ok(wait_until('the end of the program', 60, sub { !xdp() }), 'it is gone when its server was killed');
ok(wait_refused(7001), 'and the port is as any other');
is(knock('stranger', '10.77.0.1', 7002, SHORT), 'silence', 'the other guard stays');
$one = server('one', 'server', @listen, qw(--guard eth0));
ok(wait_closed(2) && knock('stranger', '10.77.0.1', 7001, SHORT) eq 'silence',
	'started anew, it closes when volmgr is back');
daemon_stop($three);
ok(wait_refused(7002), 'a guard ends with a server that is stopped');
daemon_stop($one);
daemon_stop($volmgr);
done_testing();
