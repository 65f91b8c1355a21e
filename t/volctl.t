#!/usr/bin/perl
# volctl against a volmgr that only speaks: words, tables, JSON, exit codes, and what errors say.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Test::More;
use Weft;
use Weft::FakeVolmgr;

need('volctl');
my $volctl = program('volctl');
my $dir = temp_dir();
my $socket = Weft::FakeVolmgr::start($dir);
my %env = (WEFT_SOCKET => $socket, WEFT_RUN_DIR => "$dir/run");

sub volctl { return run({ env => \%env, timeout => 60 }, $volctl, @_) }

sub exits
{
	my ($status, $like, $name, @argv) = @_;
	my $got = volctl(@argv);
	is($got->{status}, $status, "$name: exit code $status") or diag($got->{err});
	like($got->{out} . $got->{err}, $like, $name) if defined $like;
	return $got;
}

# nothing there yet
exits(0, qr/No servers yet/, 'an empty cluster says how to begin', 'status');
exits(0, qr/No servers yet/, 'an empty server list too', qw(server list));
exits(0, qr/No volumes yet/, 'an empty volume list too', qw(volume list));

# servers
exits(0, qr/Server s1 at 127\.0\.0\.1:7001 added: 1 GiB, 512 MiB free/, 'a server is added',
	qw(server add 127.0.0.1:7001 --name s1));
exits(0, qr/s1\s+up\s+127\.0\.0\.1:7001\s+here\s+1 GiB\s+512 MiB\s+50%/, 'and listed', qw(server list));
exits(2, qr/address/, 'an address without sense is refused', qw(server add :::x));

# volumes
exits(0, qr/Volume v1 of 1\.5 GiB made: 4\+2 shards, stripe unit 64 KiB.*volctl volume attach v1/s,
	'a volume is made, and what comes next is said', qw(volume create v1 --size 1.5G));
exits(1, qr/^volctl: there is a volume v1 already\nhint: choose another name$/m,
	'a refusal shows reason and hint', qw(volume create v1 --size 1G));
exits(0, qr/2\+1 shards, stripe unit 16 KiB/, 'shards and unit can be chosen',
	qw(volume create v2 --size 1T --ec 2+1 --unit 16K));
exits(0, qr/^  v1\s+ok\s+1\.5 GiB\s+4 KiB\s+0%\s+4\+2\s+64 KiB\s+0\s+-$/m, 'volumes are listed',
	qw(volume list));
exits(0, qr/^Everything is fine\.$/m, 'the status begins with a sentence', 'status');
exits(0, qr/survives the loss of 2 servers/, 'a volume is shown', qw(volume show v1));
exits(0, qr/^ +0 +0 B  server-1 server-2! server-3 server-4 \| server-5 server-6$/m,
	'the map shows who holds what, and what is stale', qw(volume map v1));
exits(0, qr/Volume v1 is now 2 GiB/, 'a volume is resized', qw(volume resize v1 2G));
exits(1, qr/there is no volume v9/, 'a volume that is not there', qw(volume show v9));
exits(1, qr/status 500 without a reason/, 'an answer without sense', qw(volume show broken));

exits(2, qr/\Avolctl: --min -1 is no number of shards\n\z/, 'a setting without sense is refused, and no more said',
	qw(volume set v1 --min -1));
exits(2, qr/\Avolctl: --below-min is wait or fail, not never\n\z/, 'so is a word that is none', qw(volume set v1 --below-min never));
exits(2, qr/\Avolctl: --when-full is wait or error, not fail\n\z/, 'or one of another setting',
	qw(volume create v3 --size 1G --when-full fail));
exits(2, qr/\Avolctl: there is nothing to set\nhint: --min, --below-min or --when-full\n\z/, 'or nothing', qw(volume set v1));

# JSON
is(json_decode(exits(0, undef, 'JSON', qw(volume list --json))->{out})->{volumes}[0]{name}, 'v1',
	'--json prints the answer as it is');
is(json_decode(exits(0, undef, 'JSON', qw(--json volume show v2))->{out})->{k}, 2,
	'--json may stand in front');
is(@{ json_decode(exits(0, undef, 'JSON', qw(volume map v1 --json))->{out})->{extents} }, 1,
	'the map as JSON');

# top
exits(0, qr/^400 reads\/s .*, 75% routed\).*^v1 +400 .* 75%\n.*^s1 +400 /ms, 'what goes on, once', qw(top --once));
is(json_decode(exits(0, undef, 'JSON', qw(top --once --json))->{out})->{volumes}[0]{reads}, 400, 'and for scripts');

SKIP: {
	my $script = tool('script') or skip('script is not here', 3);
	# the fake answers at once; q comes when something was drawn
	my $got = run({ timeout => 60, env => { %env, TERM => 'xterm' } }, qw(sh -c), "mkfifo $dir/keys; "
	    . "(for i in \$(seq 500); do grep -q ROUTED $dir/screen 2>/dev/null && break; sleep 0.1; done; printf xq) >$dir/keys & "
	    . "$script -qefc 'stty rows 10 cols 70; $volctl top; echo ended \$?; stty -a' $dir/screen <$dir/keys");
	like($got->{out}, qr/\e\[\?1049h.*ROUTED.*q: quit.*\e\[\?1049lended 0/s, 'on a terminal it fills the screen until q');
	like($got->{out}, qr/[^-]icanon/, 'and leaves the terminal as it was');
	is((grep { length(s/\e\[\??[0-9]*[A-Za-z]//gr) > 70 } $got->{out} =~ /^(.*(?:READS|reads|v1).*?)\r?$/mg), 0, 'no line is too long for it');
}

# usage
exits(2, qr/Usage: volctl volume create NAME/, 'a missing name', qw(volume create));
exits(2, qr/needs a size.*--size 10G/s, 'a missing size', qw(volume create v3));
exits(2, qr/cannot use --size 10Q/, 'a size without sense', qw(volume create v3 --size 10Q));
exits(2, qr/--ec 4/, 'a profile without sense', qw(volume create v3 --size 1G --ec 4));
exits(2, qr/is no name for a volume/, "the name '$_'", 'volume', 'create', $_, qw(--size 1G))
    for '', '../x', 'a/b', '.hidden', 'a' x 64, "a\nb", "\xc3\xa4";
exits(2, qr/has no option --size/, 'an option of another command', qw(volume list --size 1G));
exits(2, qr/there is no command "volume fly"/, 'an unknown command', qw(volume fly));
exits(2, qr/Try "volctl --help"/, 'no command at all');

# delete asks
exits(2, qr/add --yes/, 'delete without a terminal wants --yes', qw(volume delete v2));
exits(0, qr/Volume v2 deleted/, 'and deletes with it', qw(volume delete v2 --yes));

# nothing answers
$env{WEFT_SOCKET} = "$dir/nowhere.sock";
exits(3, qr/there is no socket .*nowhere\.sock\nhint: start volmgr/, 'no volmgr', 'status');
exits(0, undef, '--socket wins over WEFT_SOCKET', '--socket', $socket, 'status');
exits(0, undef, '--socket may follow the command', 'status', '--socket', $socket);
spew("$dir/weft.conf", "[volctl]\nsocket = $socket\n");
delete $env{WEFT_SOCKET};
{
	local $ENV{WEFT_SOCKET};
	exits(0, undef, 'the socket can be in the config file', '--config', "$dir/weft.conf", 'status');
}
$env{WEFT_SOCKET} = $socket;

# the secret
exits(0, qr/The cluster's secret is in/, 'the secret is made', qw(cluster init --secret), "$dir/secret");
is((stat "$dir/secret")[2] & 07777, 0600, 'for its owner only');
exits(1, qr/is there already/, 'and never made anew', qw(cluster init --secret), "$dir/secret");

# completion
sub completes
{
	my ($want, $name, @words) = @_;
	is(join(' ', split(/\n/, volctl('complete', @words)->{out})), $want, "completion: $name");
	return;
}
completes('status top cluster server volume user check recover scrub', 'first words', '');
completes('attach', 'second words', 'volume', 'att');
completes('v1', 'names of volumes', 'volume', 'show', '');
completes('s1', 'names of servers', 'server', 'remove', 's');
completes('--size --socket', 'options', 'volume', 'create', 'x', '--s');
completes('', 'nothing after the last argument', 'volume', 'show', 'v1', '');

my $bash = run({ env => \%env }, qw(bash -c), qq{. $FindBin::RealBin/../completion/volctl
COMP_WORDS=($volctl volume show "")
COMP_CWORD=3
_volctl
echo "\${COMPREPLY[@]}"});
is($bash->{out}, "v1\n", 'completion in bash') or diag($bash->{err});

# no device here
exits(1, qr/volume v1 is not attached/, 'detach of what is not attached', qw(volume detach v1)) if !$>;

done_testing();
