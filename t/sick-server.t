#!/usr/bin/perl
# A server that takes the connection and the secret, and answers the first question about its state with an
# error: it is left out at once, and why is said; when it is well again it is there again.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use Test::More;
use Time::HiRes qw(time);
use Weft;
use Weft::Cluster;

use constant {
	REQUEST => 0x25609513, STAT => 0x5709, # lib/nbd/proto.h, lib/nbd/weft.h
	REPLY => 0x67446698, EIO => 5,
	SOON => 4, # seconds: less than a negotiation may last
	TRIES => 5, # at most: a machine that is busy for a while spoils some
};

need(qw(nbdsrv volmgr volctl));
my $dir = temp_dir();
my $cluster = Weft::Cluster->new(dir => "$dir/c", ec => '1+0', servers => 1, volume => '', tcp => 1);
at_end(sub { $cluster->kill });
$cluster->format_stores;
$cluster->start;
my ($host, $port) = $cluster->{address}{'server-1'} =~ /([\d.]+):(\d+)\z/ or die 'where is it?';

# What stands before it, answers STAT as long as the file "sick" is there, and passes on all else.
sub pass_on
{
	my ($client) = @_;
	my $server = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port) or return;
	my $select = IO::Select->new($client, $server);
	while (1) {
		for my $from ($select->can_read) {
			sysread($from, my $bytes, 1 << 16) or return;
			my ($magic, undef, $type, $cookie) = unpack('N n n Q>', $bytes . "\0" x 16);
			my $to = $from == $client ? $server : $client;
			if ($from == $client && $magic == REQUEST && $type == STAT && -e "$dir/sick") {
				$to = $client;
				$bytes = pack('N N Q>', REPLY, EIO, $cookie);
			}
			syswrite($to, $bytes) == length $bytes or return;
		}
	}
}

my $front = IO::Socket::UNIX->new(Local => "$dir/front.sock", Listen => 8) or die "socket: $!";
my $pid = fork() // die "fork: $!";
if (!$pid) {
	Weft::die_with_parent();
	$SIG{CHLD} = 'IGNORE';
	while (1) {
		my $client = $front->accept or next;
		next if fork();
		Weft::die_with_parent();
		pass_on($client);
		POSIX::_exit(0);
	}
}
at_end(sub { kill('KILL', $pid); waitpid($pid, 0) });

sub state { return $cluster->get('/servers/one') }

# What it takes at least, in seconds; get_ready is called before each try.
sub took
{
	my ($get_ready, $fn) = @_;
	my $least;
	for (1 .. TRIES) {
		$get_ready->();
		my $begin = time;
		$fn->();
		my $this = time - $begin;
		$least = $this if !defined $least || $this < $least;
		last if $least < SOON;
	}
	return $least;
}

spew("$dir/sick", '');
my $add;
my $took = took(sub { }, sub { $add = $cluster->volctl_run('server', 'add', "unix:$dir/front.sock", '--name', 'one') });
isnt($add->{status}, 0, 'a server that cannot tell its state is not added');
like($add->{err}, qr/state.*Input\/output error/s, 'with the reason');
cmp_ok($took, '<', SOON, 'at once');

unlink("$dir/sick");
run_ok(program('volctl'), '--socket', $cluster->socket, qw(server add), "unix:$dir/front.sock", qw(--name one));
wait_until('it to be up', 60, sub { state()->{state} eq 'up' });
spew("$dir/sick", '');
my $sick = qr/Input\/output error/;
$took = took(sub {
	$cluster->kill('server-1');
	wait_until('it to be missed', 60, sub { my $s = state(); $s->{state} eq 'down' && $s->{message} !~ $sick });
}, sub {
	$cluster->start('server-1');
	wait_until('the reason', 60, sub { state()->{message} =~ $sick });
});
cmp_ok($took, '<', SOON, 'one that comes back so is left out at once, and the status says why');
like(slurp($cluster->log_file('volmgr')), qr/server one is down: .*its state.*Input\/output error/, 'so does the log');
unlink("$dir/sick");
wait_until('it to be up again', 60, sub { state()->{state} eq 'up' });
pass('it is tried again, and used when it is well');
done_testing();
