#!/usr/bin/perl
# Clients' ids begin anew after 2^31 connections: one that a client still has is given to nobody else.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Test::More;
use Weft;
use Weft::BPF;
use Weft::Cluster;
use Weft::NBD;

use constant { BLOCK => 4096, UNIT => 65536, READS => 64 };

need(qw(nbdsrv volmgr volctl bpftool));
my $dir = temp_dir();
my $cluster = Weft::Cluster->new(dir => "$dir/c", ec => '2+1', size => 16 << 20);
at_end(sub { $cluster->kill });
$cluster->up;
my $ebpf = $cluster->get('/status')->{ebpf};
skip_all("eBPF is off here: $ebpf->{why}") if $ebpf->{state} ne 'on';

sub routed { return $cluster->get('/volumes/vol')->{routed}{reads} }
sub client
{
	my ($host, $port) = $cluster->host_port;
	return Weft::NBD->connect("tcp:$host:$port")->go('vol', structured => 1);
}
sub block { my ($n) = @_; return pack('Q>', $n) x (BLOCK / 8) }

# So many of these READs were right.
sub good_reads
{
	my ($c) = @_;
	my $good = 0;
	for my $n (0 .. READS - 1) {
		$c->put($c->request(Weft::NBD::CMD_READ, $n * BLOCK, BLOCK));
		my ($handle, $error, $data) = eval { $c->answer({ $c->{handle} => [ $n * BLOCK, BLOCK ] }) };
		last if !defined $handle;
		$good++ if !$error && $data eq block($n);
	}
	return $good;
}

# Most of the reads of a client do not come to volmgr; but for those of a server that is late, as the machine is busy,
# until it is back.
sub most_routed
{
	my ($c, $name) = @_;
	return wait_until("most reads to be routed ($name)", 60, sub {
		my $before = routed();
		is(good_reads($c), READS, "$name: all right");
		return routed() - $before > READS / 2;
	});
}

my $old = client();
$old->put($old->request(Weft::NBD::CMD_WRITE, 0, READS * BLOCK, join('', map { block($_) } 0 .. READS - 1)));
my ($handle, $error) = $old->answer({ $old->{handle} => [ 0, 0 ] });
die "the first write fails\n" if !defined $handle || $error;
wait_until('reads that are routed', 90, sub { my $before = routed(); good_reads($old); return routed() - $before == READS });

my $ids = Weft::BPF::map_id($cluster->pid('volmgr'), qr/\.data$/);
my $next = unpack('L', Weft::BPF::map_lookup($ids, pack('L', 0)));
for my $from ($next - 1, 1 << 31) { # the id of $old, and, behind all of them, 0
	Weft::BPF::map_update($ids, pack('L', 0), pack('L', $from));
	my $new = client();
	ok(most_routed($new, 'a client with an id that begins anew'), 'most of its reads are routed');
	ok(most_routed($old, 'the client that has the id'), 'as are those of the other');
}
done_testing();
