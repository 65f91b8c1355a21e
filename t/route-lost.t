#!/usr/bin/perl
# When the kernel loses what it should bring past volmgr, no client waits for ever (bpf/remote.h): the word of a server
# about what it has sent, and the end of an answer. Both are brought about by taking a socket out of the programs' maps.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Test::More;
use Weft;
use Weft::BPF;
use Weft::Cluster;
use Weft::Hosts;
use Weft::NBD;
use Weft::Room;

use constant { UNIT => 65536, SIZE => 16 << 20, PAIR_KEY => 1 << 63 };

need(qw(nbdsrv volmgr volctl bpftool));
my $missing = Weft::Hosts::missing();
skip_all($missing) if $missing;
Weft::Room::enter(@ARGV);
my $hosts = Weft::Hosts->new(2);
my $dir = temp_dir();
my @remote = map { "server-$_" } 1 .. 2;
my $cluster = Weft::Cluster->new(dir => "$dir/c", ec => '2+1', size => SIZE, threads => 1, args => { volmgr => [qw(--bpf all)] },
	address => { map { +"server-$_" => 'tcp:' . $hosts->address($_) . ':0' } 1 .. 2 },
	prefix => { map { +"server-$_" => [ $hosts->prefix($_) ] } 1 .. 2 });
at_end(sub { $cluster->kill });
$cluster->up;
my $ebpf = $cluster->get('/status')->{ebpf};
skip_all("eBPF is off here: $ebpf->{why}") if $ebpf->{state} ne 'on';
skip_all("not here: $ebpf->{remote_why}") if $ebpf->{remote_why} ne '';

sub block { my ($n) = @_; return pack('Q>', $n) x (UNIT / 8) }
sub client
{
	my ($host, $port) = $cluster->host_port;
	return Weft::NBD->connect("tcp:$host:$port")->go('vol', structured => 1);
}
sub is_steered
{
	my %by = map { $_->{name} => $_ } @{ $cluster->get('/counters')->{servers} };
	return !grep { $by{$_}{route} ne 'steered' } @remote;
}

# Two units from n on, of two servers. undef: they are right.
sub read_two
{
	my ($c, $n) = @_;
	$c->put($c->request(Weft::NBD::CMD_READ, $n * UNIT, 2 * UNIT));
	my ($handle, $error, $data) = eval { $c->answer({ $c->{handle} => [ $n * UNIT, 2 * UNIT ] }) };
	return $@ || 'the connection ended' if !defined $handle;
	return "error $error" if $error;
	return $data eq block($n) . block($n + 1) ? undef : 'wrong bytes';
}
sub read_all { my ($c) = @_; return (grep { defined } map { read_two($c, 2 * $_) } 0 .. SIZE / UNIT / 2 - 1)[0] }

# How often volmgr said that it has given up to read so.
sub given_up { return scalar(() = slurp($cluster->log_file('volmgr')) =~ /reads of servers on other machines come through volmgr/g) }

# A client whose reads of two servers come past volmgr.
sub ready
{
	wait_until('both remote servers to be steered', 90, \&is_steered);
	my $c = client();
	read_all($c) && die "reads fail before anything is broken\n";
	return $c;
}

my $c = client();
for my $n (0 .. SIZE / UNIT - 1) {
	$c->put($c->request(Weft::NBD::CMD_WRITE, $n * UNIT, UNIT, block($n)));
	my ($handle, $error) = $c->answer({ $c->{handle} => [ 0, 0 ] });
	die "the first writes fail\n" if !defined $handle || $error;
}

$c = ready();
my $before = given_up();
Weft::BPF::map_delete(Weft::BPF::map_id($cluster->pid('volmgr'), 'notes'), pack('Q', 0));
is(read_two($c, 0), undef, 'what servers tell of their parts is lost: the answer comes, and is right');
ok(wait_until('volmgr to give up', 60, sub { given_up() > $before }), 'volmgr reads such parts itself from then on');
is(read_all(client()), undef, 'all right');

$cluster->stop('volmgr');
$cluster->start('volmgr');
$c = ready();
$before = given_up();
Weft::BPF::map_delete(Weft::BPF::map_id($cluster->pid('volmgr'), 'remotes'), pack('Q', PAIR_KEY));
is(read_two($c, 0), 'the connection ended', 'the end of an answer is lost: the client need not wait for it');
ok(wait_until('volmgr to give up', 60, sub { given_up() > $before }), 'volmgr reads such parts itself from then on');
is(read_all(client()), undef, 'all right');
done_testing();
