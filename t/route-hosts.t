#!/usr/bin/perl
# Servers that reads are not routed to, beside one that they are: on another machine (a network namespace
# behind a veth pair), and on this one in another network namespace. Who asks is told which is which, and
# every byte is right, also of reads that some servers answer past volmgr and others through it, and when
# the other machine goes.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Test::More;
use Weft;
use Weft::Cluster;
use Weft::Hosts;
use Weft::NBD;

use constant { BLOCK => 4096, UNIT => 65536, SIZE => 64 << 20,
	REGION => 64 << 20 }; # eight extents: each server has data of some, and not parity alone

need(qw(nbdsrv volmgr volctl));
my $missing = Weft::Hosts::missing();
skip_all($missing) if $missing;
Weft::Hosts::enter(@ARGV);
my $seed = $ENV{WEFT_SEED} // time | 0;
srand($seed);
diag("seed $seed");
my $hosts = Weft::Hosts->new(2);
my $dir = temp_dir();
# of server-2 only the network is another: it is reached at its socket file, as if it were beside us
my $cluster = Weft::Cluster->new(dir => "$dir/c", ec => '2+1', size => SIZE, args => { volmgr => [qw(--bpf on)] },
	host => { map { +"server-$_" => "host-$_" } 1 .. 3 }, address => { 'server-1' => 'tcp:' . $hosts->address(1) . ':0' },
	prefix => { map { +"server-$_" => [ $hosts->prefix($_) ] } 1 .. 2 });
at_end(sub { $cluster->kill });
$cluster->up;
my $ebpf = $cluster->get('/status')->{ebpf};
skip_all("eBPF is off here: $ebpf->{why}") if $ebpf->{state} ne 'on';

sub block { my ($n) = @_; return pack('Q> Q>', $n, $seed) x (BLOCK / 16) }
sub wanted { my ($at, $len) = @_; return join('', map { block($_) } $at / BLOCK .. ($at + $len) / BLOCK - 1) }
sub client
{
	my ($host, $port) = $cluster->host_port;
	return Weft::NBD->connect("tcp:$host:$port")->go('vol', structured => 1);
}
sub counts { my %by = map { $_->{name} => $_ } @{ $cluster->get('/counters')->{servers} }; return \%by }

# Reads at random, so many at once; undef: every one of them was right.
sub read_some
{
	my ($c, $n, @lens) = @_;
	my %wait;
	while ($n > 0 || keys %wait) {
		while ($n > 0 && keys %wait < 16) {
			my $len = $lens[rand @lens];
			my $at = int(rand((REGION - $len) / BLOCK)) * BLOCK;
			$c->put($c->request(Weft::NBD::CMD_READ, $at, $len));
			$wait{ $c->{handle} } = [ $at, $len ];
			$n--;
		}
		my ($handle, $error, $data) = eval { $c->answer(\%wait) };
		return $@ || 'the connection broke' if !defined $handle;
		my ($at, $len) = @{ delete $wait{$handle} };
		return "error $error at $at" if $error;
		return "wrong bytes: $len at $at" if $data ne wanted($at, $len);
	}
	return undef;
}

{
	my ($host, $port) = $cluster->host_port;
	my $c = Weft::NBD->connect("tcp:$host:$port")->go('vol');
	for (my $at = 0; $at < REGION; $at += 1 << 20) {
		$c->put($c->request(Weft::NBD::CMD_WRITE, $at, 1 << 20, wanted($at, 1 << 20)));
		my ($error) = $c->reply(0);
		die "write: $error\n" if $error;
	}
}
my $c = client();

# ---- who is routed ----------------------------------------------------------

ok(wait_until('reads to be routed to server-3', 90, sub {
	read_some($c, 64, BLOCK);
	return counts()->{'server-3'}{routed}{count} > 0;
}), 'reads are routed to the server that is here');
is_deeply({ map { $_->{name} => $_->{route} } values %{ counts() } },
	{ 'server-1' => 'remote', 'server-2' => 'closed', 'server-3' => 'open' }, 'it is known which are not');
like($cluster->volctl('status'), qr/^ +ebpf +on: reads are routed to 1 of 3 servers; 1 remote, whose reads are not: not asked for by --bpf remote$/m,
	'volctl status says so');
like($cluster->volctl('server', 'show', 'server-1'), qr/^ +routed +no: it is on another machine/m, 'volctl server show says so');
like($cluster->volctl('server', 'show', 'server-2'), qr/^ +routed +no: it takes none now$/m, 'of one in another namespace, too');
like($cluster->volctl('server', 'show', 'server-3'), qr/^ +routed +reads go past volmgr$/m, 'and of the one that is here');
like($cluster->volctl('top', '--once'), qr/^ *server-1 .* remote$/m, 'volctl top shows it');

# ---- what comes -------------------------------------------------------------

is(read_some($c, 2000, BLOCK, 4 * BLOCK, UNIT, 300 << 10, 1 << 20), undef,
	'reads of all sizes, some parts past volmgr and some through it: all right');
is_deeply([ map { $_->{routed}{count} } @{ counts() }{qw(server-1 server-2)} ], [ 0, 0 ], 'none was routed to the others');
ok(wait_until('many to be routed', 60, sub { # not to a server that is late, as the machine is busy
	return 1 if counts()->{'server-3'}{routed}{count} > 100;
	die "a read fails\n" if read_some($c, 100, BLOCK);
	return 0;
}), 'many were to the one that is here');

# ---- the other machine goes -------------------------------------------------

{
	my $c = client();
	$cluster->kill('server-1');
	is(read_some($c, 500, BLOCK, UNIT, 300 << 10), undef, 'its server is killed: all right');
	$cluster->start('server-1');
	ok(wait_until('server-1 to be up', 90, sub { counts()->{'server-1'}{state} eq 'up' }), 'it is back');
	is(counts()->{'server-1'}{route}, 'remote', 'and remote as before');
	$hosts->cut(1);
	is(read_some($c, 200, BLOCK, UNIT, 300 << 10), undef, 'its link is cut: all right');
	$hosts->mend(1);
	ok(wait_until('server-1 to be up', 90, sub { counts()->{'server-1'}{state} eq 'up' }), 'and it is mended');
}
$cluster->kill('server-3');
is(read_some($c, 200, BLOCK, UNIT), undef, 'the server that is here is killed: all right');
ok(wait_until('server-3 to be no more routed', 90, sub { counts()->{'server-3'}{route} eq 'closed' }), 'that is seen, too');
$cluster->start('server-3');
ok(wait_until('server-3 to be routed again', 90, sub { counts()->{'server-3'}{route} eq 'open' }), 'and that it is back');
done_testing();
