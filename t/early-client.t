#!/usr/bin/perl
# Clients that are there as soon as volmgr listens, before it has opened its volumes: they wait, nobody is told
# that a volume cannot be used. volmgr's control thread is held where it tells that it is ready, by a pipe that is
# full, so that this does not depend on who is faster.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Fcntl;
use Test::More;
use Weft;
use Weft::Cluster;
use Weft::NBD;

use constant BLOCK => 4096;

need(qw(nbdsrv volmgr volctl));
my $dir = temp_dir();
# a data thread for each volume: only one of them is also the one that accepts clients
my $cluster = Weft::Cluster->new(dir => "$dir/c", ec => '2+1', size => 16 << 20, volume => 'one', threads => 2);
at_end(sub { $cluster->kill });
$cluster->up;
$cluster->create_volume('two');
my ($host, $port) = $cluster->host_port;

# The process, and the end of the pipe that lets it go on.
sub start_held
{
	pipe(my $r, my $w) or die "pipe: $!\n";
	$w->blocking(0);
	1 while syswrite($w, "\n");
	$w->blocking(1);
	my @argv = ($cluster->_argv('volmgr'), '--ready-fd', fileno($w));
	my $pid = fork() // die "fork: $!\n";
	if (!$pid) {
		Weft::die_with_parent();
		open(STDERR, '>>', "$dir/held.log") or POSIX::_exit(126);
		fcntl($w, F_SETFD, 0);
		{ no warnings 'exec'; exec { $argv[0] } @argv; }
		POSIX::_exit(127);
	}
	at_end(sub { kill('KILL', $pid) if kill(0, $pid) });
	return ($pid, $r);
}

sub let_go
{
	my ($r) = @_;
	1 while defined Weft::line_read($r, 90);
	return;
}

# Connects, and asks for the volume without waiting for an answer.
sub ask
{
	my ($volume) = @_;
	my $c;
	wait_until('volmgr to listen', 90, sub { $c = eval { Weft::NBD->connect("tcp:$host:$port") } });
	$c->put(pack('N', Weft::NBD::FIXED_NEWSTYLE | Weft::NBD::NO_ZEROES));
	$c->option(Weft::NBD::OPT_GO, pack('N/a n', $volume, 0));
	return $c;
}

# The type of the last answer to the request for a volume, and what it said.
sub answer
{
	my ($c) = @_;
	$c->get(18) // return 'closed';
	while (my ($type, $text) = $c->option_reply) {
		return ($type, $text) if $type == Weft::NBD::REP_ACK || $type & 0x80000000;
	}
	return 'closed';
}

{
	$cluster->stop('volmgr');
	my ($pid, $r) = start_held();
	my %client = map { $_ => ask($_) } qw(one two);
	# a second for a wrong answer: one that is right does not come before volmgr goes on
	for my $c (values %client) {
		Weft::wait_readable(fileno($c->{io}), 1);
	}
	let_go($r);
	for my $name (sort keys %client) {
		my $c = $client{$name};
		my ($type, $text) = answer($c);
		is($type, Weft::NBD::REP_ACK, "a client that comes before volume $name is open gets it") or diag($text);
		next if $type ne Weft::NBD::REP_ACK;
		$c->put($c->request(Weft::NBD::CMD_WRITE, 0, BLOCK, 'x' x BLOCK));
		is(($c->reply(0))[0], 0, 'and writes');
	}
	kill('TERM', $pid);
	ok(pid_wait($pid, 90), 'volmgr stops');
}

{
	my ($pid, $r) = start_held();
	my $c = ask('one');
	kill('TERM', $pid);
	let_go($r);
	ok(pid_wait($pid, 90), 'volmgr stops also when it is told to before its volumes are open');
	is($?, 0, 'in order');
	ok($c->closed_within(60), 'and who waited hears of it');
}

$cluster->start('volmgr');
for my $name (qw(one two)) {
	my $c = Weft::NBD->connect("tcp:$host:$port")->go($name);
	$c->put($c->request(Weft::NBD::CMD_READ, 0, BLOCK));
	my ($error, $data) = $c->reply(BLOCK);
	ok($error == 0 && $data eq 'x' x BLOCK, "volume $name has what was written");
}
done_testing();
