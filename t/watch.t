#!/usr/bin/perl
# Counters: every read and write of a client is counted once, by volmgr or, where it went past volmgr, by
# the kernel; for its volume and for the server that answered. /counters, /metrics and volctl top agree.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use List::Util qw(sum0);
use Test::More;
use Weft;
use Weft::Cluster;
use Weft::NBD;

use constant { BLOCK => 4096, UNIT => 65536, UNITS => 64, SIZE => 64 << 20 };

need(qw(nbdsrv volmgr volctl));
my $dir = temp_dir();
my $cluster = Weft::Cluster->new(dir => "$dir/c", ec => '4+2', size => SIZE,
	args => { volmgr => [ '--bpf', 'auto', '--server-timeout', 60000 ] });
at_end(sub { $cluster->kill });
$cluster->up;
my $routes = $cluster->get('/status')->{ebpf}{state} eq 'on';
diag('eBPF is off here: nothing is routed') if !$routes;

sub counters { return $cluster->get('/counters') }
sub volume { return (grep { $_->{name} eq 'vol' } @{ counters()->{volumes} })[0] }

my ($host, $port) = $cluster->host_port;
my $c = Weft::NBD->connect("tcp:$host:$port", room => $routes ? 256 << 20 : 0)->go('vol');

sub ask
{
	my ($type, $at, $len, $data) = @_;
	$c->put($c->request($type, $at, $len, $data // ''));
	my ($error) = $c->reply($type == Weft::NBD::CMD_READ ? $len : 0);
	die "error $error\n" if $error;
	return;
}

ask(Weft::NBD::CMD_WRITE, $_ << 20, 1 << 20, 'w' x (1 << 20)) for 0 .. UNITS / 16 - 1;
my $v = volume();
is($v->{writes}{count}, UNITS / 16, 'writes are counted');
is($v->{writes}{bytes}, UNITS * UNIT, 'and their bytes');

# ---- reads, routed or not ---------------------------------------------------

my ($reads, $bytes) = (0, 0);
sub read_some
{
	for my $unit (0 .. UNITS - 1) {
		ask(Weft::NBD::CMD_READ, $unit * UNIT + BLOCK, BLOCK);
		$reads++;
		$bytes += BLOCK;
	}
	return volume()->{routed}{count};
}
ok(wait_until('routed reads', 60, sub { read_some() > UNITS }), 'reads are routed') if $routes;
read_some();
ask(Weft::NBD::CMD_READ, UNIT - BLOCK, 2 * BLOCK) for 1 .. 5;
ask(Weft::NBD::CMD_READ, 0, 1 << 20) for 1 .. 3;
$reads += 8;
$bytes += 10 * BLOCK + (3 << 20);

$v = volume();
is($v->{reads}{count} + $v->{routed}{count}, $reads, "all $reads reads are counted, each once");
is($v->{reads}{bytes} + $v->{routed}{bytes}, $bytes, 'and their bytes');
cmp_ok($v->{reads}{count}, '>=', 8, 'those of several units by volmgr');
for my $kind (qw(reads routed writes)) {
	is(sum0(@{ $v->{$kind}{buckets} }), $v->{$kind}{count}, "$kind: the histogram has all");
	cmp_ok($v->{$kind}{ns}, '>', 0, "$kind: and they took some time") if $v->{$kind}{count};
}
my $servers = counters()->{servers};
is(scalar @$servers, 6, 'all servers are told');
is(sum0(map { $_->{routed}{count} } @$servers), $v->{routed}{count}, 'each routed read has its server');
is((grep { $_->{routed}{count} } @$servers) > 1, 1, 'and not all the same') if $routes;
is((grep { $_->{writes}{count} } @$servers), 6, 'each server was written to');

# ---- the same elsewhere -----------------------------------------------------

my $metrics = tool('curl')
    && run_ok(tool('curl'), "-s", "--unix-socket", $cluster->socket, "http://localhost/metrics");
SKIP: {
	skip('curl is not here', 3) if !$metrics;
	my $name = 'weft_volume_request_duration_seconds';
	my $total = 0;
	for my $op (qw(read routed_read)) {
		my @buckets = $metrics =~ /^${name}_bucket\{volume="vol",op="$op",le="[^"]+"\} (\d+)$/mg or next;
		my ($count) = $metrics =~ /^${name}_count\{volume="vol",op="$op"\} (\d+)$/m;
		is((grep { $buckets[$_] < $buckets[ $_ - 1 ] } 1 .. $#buckets), 0, "$op: buckets do not fall");
		is($buckets[-1], $count, "$op: and end with the count");
		$total += $count;
	}
	is($total, $reads, '/metrics has all reads');
	like($metrics, qr/^weft_volume_read_bytes_total\{volume="vol"\} $bytes$/m, 'and all bytes');
	like($metrics, qr/^weft_server_request_duration_seconds_count\{server="server-1",op="write"\} [1-9]/m,
		'servers too');
}

# volctl top looks for a second: read until it has ended.
my $pid = fork() // die "fork: $!\n";
if (!$pid) {
	Weft::die_with_parent();
	open(STDOUT, '>', "$dir/top") or POSIX::_exit(126);
	exec(program('volctl'), '--socket', $cluster->socket, qw(top --once --json)) or POSIX::_exit(127);
}
read_some() while waitpid($pid, POSIX::WNOHANG()) == 0;
is($?, 0, 'volctl top ends');
my $top = json_decode(slurp("$dir/top"));
is($top->{volumes}[0]{name}, 'vol', 'it shows the volume');
cmp_ok($top->{volumes}[0]{reads}, '>', 0, 'that is read');
cmp_ok($top->{volumes}[0]{read_us}{'p99.9'}, '>=', $top->{volumes}[0]{read_us}{p50}, 'and how long that took');
is(scalar @{ $top->{servers} }, 6, 'and all servers');
done_testing();
