#!/usr/bin/perl
# Commands of volmgr's configuration over the API: only admins, only names that are known, no shell, a word
# for what fails, each of them noted; and what volumes would miss without a host.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Test::More;
use Weft;
use Weft::Cluster;
use Weft::HTTP;

need(qw(nbdsrv volmgr volctl nbdcopy));
my $dir = temp_dir();
# what the commands were called with, a line each
spew("$dir/tool", <<"END");
#!/bin/sh
echo "\$#:\$*" >>'$dir/calls'
[ "\$1" != off ] || { echo first; echo "no power here" >&2; exit 3; }
echo "done with \$2"
END
chmod(0755, "$dir/tool") or die $!;
my @commands = map { ("--$_->[0]-command", "$dir/tool $_->[0] $_->[1] ;x") }
    [ attach => '%v' ], [ detach => '%v' ], [ stop => '%h' ], [ off => '%h' ];
my $cluster = Weft::Cluster->new(dir => "$dir/c", servers => 4, ec => '2+1', size => '64M', volume => 'vol', args => { volmgr => [ '--server-timeout', 60000, @commands ] });
# server-1 and server-2 on one host
$cluster->{host} = { 'server-1' => 'left', 'server-2' => 'left', 'server-3' => 'right', 'server-4' => 'far' };
$cluster->up;
at_end(sub { $cluster->kill });

sub api { return http_local($cluster->socket, @_) }

sub refused
{
	my ($status, $code, $name, @request) = @_;
	my ($got, $said) = api(@request);
	ok($got == $status && $said->{error}{code} eq $code, $name) or diag("$got " . json_encode($said));
	return $said->{error};
}

sub calls { return -e "$dir/calls" ? slurp("$dir/calls") : '' }

my ($status, $said) = api(GET => '/status');
is_deeply($said->{commands}, [qw(attach detach stop off)], 'it is known what there are commands for');

# ---- attach, detach ----
($status, $said) = api(POST => '/volumes/vol/attach');
is($status, 200, 'a volume is attached') or diag(json_encode($said));
is($said->{said}, 'done with vol', 'what the command said comes back');
is(calls(), "3:attach vol ;x\n", 'it got its words as they are, without a shell');
is((api(POST => '/volumes/vol/detach'))[0], 200, 'and detached');
refused(404, 'no_such_volume', 'an unknown one is not', POST => '/volumes/nobody/attach');
refused(404, 'no_such_volume', 'nor what would be an option', POST => '/volumes/--help/detach');

# ---- what would be missed ----
(undef, $said) = api(GET => '/hosts/left/power');
is_deeply([ @$said{qw(servers up)} ], [ 2, 2 ], 'a host has its servers');
is_deeply($said->{impact}, { unavailable => 0, waiting => 0, less => 0, volumes => [] }, 'an empty volume misses none of four servers')
    or diag(json_encode($said));
spew("$dir/in", 'x' x (24 << 20));
run_ok(tool('nbdcopy'), "$dir/in", $cluster->uri);
(undef, $said) = api(GET => '/hosts/left/power');
# hosts are preferred to be different: with three of them, two servers of one hold shards of different extents
is($said->{impact}{less} + $said->{impact}{waiting} + $said->{impact}{unavailable}, 1, 'a volume that has shards there is counted');
$cluster->kill('server-3');
wait_until('volmgr to see that a server is gone', 60, sub { (api(GET => '/servers/server-3'))[1]{state} eq 'down' });
(undef, $said) = api(GET => '/hosts/left/power');
is($said->{impact}{unavailable}, 1, 'it could not be read without two hosts') or diag(json_encode($said));
is_deeply($said->{impact}{volumes}, [ { name => 'vol', state => 'unavailable' } ], 'and is named');
(undef, $said) = api(GET => '/hosts/right/power');
is_deeply([ @$said{qw(servers up)} ], [ 1, 0 ], 'a host that is away already');
is($said->{impact}{unavailable} + $said->{impact}{waiting} + $said->{impact}{less}, 0, 'takes nothing more along');
refused(404, 'no_such_host', 'an unknown host is said to be so', GET => '/hosts/nowhere/power');

# ---- power ----
unlink("$dir/calls");
my $error = refused(409, 'would_stop_volumes', 'stopping it is refused', POST => '/hosts/left/power', { action => 'stop' });
like($error->{message}, qr/parts of 1 volume could not be read or written.*: vol\./, 'with a number and a name');
is(calls(), '', 'and nothing was run');
is((api(POST => '/hosts/left/power', { action => 'stop', force => JSON::PP::true() }))[0], 200, 'but done when it is meant');
is(calls(), "3:stop left ;x\n", 'with the name of the host');
is((api(POST => '/hosts/right/power', { action => 'stop' }))[0], 200, 'what nobody misses is stopped at once');
$error = refused(502, 'command_failed', 'a command that fails is told', POST => '/hosts/right/power', { action => 'off' });
like($error->{message}, qr/failed: no power here$/, 'with the last line that it said');
refused(409, 'no_command', 'what has no command is refused', POST => '/hosts/right/power', { action => 'wake' });
refused(400, 'bad_request', 'so is what is no action', POST => '/hosts/right/power', { action => 'burn' });
refused(400, 'bad_request', 'and a member that is not known', POST => '/hosts/right/power', { action => 'stop', host => 'left' });
refused(404, 'no_such_host', 'and an unknown host', POST => '/hosts/nowhere/power', { action => 'stop' });

# ---- who did what ----
(undef, $said) = api(GET => '/events');
my %events = map { ("$_->{what} $_->{object}" => $_) } grep { $_->{who} ne '' } @{ $said->{events} };
ok($events{$_}, "it is noted: $_") for 'volume.attached vol', 'volume.detached vol', 'host.stopped left', 'command.failed right';
is($events{'command.failed right'}{detail}, 'off: no power here', 'also why one failed');

# ---- not for everybody ----
(my $base = $cluster->http) =~ s/\Atcp:/http:\/\//;
api(POST => '/people', { name => 'ulla', password => 'ulla is long', role => 'user' });
my $ulla = Weft::HTTP->new($base);
$ulla->login({ name => 'ulla', password => 'ulla is long' });
is(($ulla->api(@$_))[0], 403, "a user may not: @$_[0, 1]") for [ POST => '/volumes/vol/attach', {} ],
    [ GET => '/hosts/left/power' ], [ POST => '/hosts/left/power', { action => 'stop' } ];
is(($ulla->api(GET => '/status'))[0], 200, 'but look');

# ---- what is no command is no option ----
my $got = run(program('volmgr'), '--attach-command', 'volctl volume attach %v');
is($got->{status}, 2, 'a command without a path is refused at the start');
like($got->{err}, qr/whole path/, 'and why is said');
done_testing();
