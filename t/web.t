#!/usr/bin/perl
# The web page in Debian's chromium against a real cluster; what is tested is in t/web/test.js and the files it
# imports. The browser's driver comes from npm, as t/web/package-lock.json says, into the build folder.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Copy qw(copy);
use Test::More;
use Weft;
use Weft::Cluster;

use constant SERVERS => 6;
use constant SPARES => 3; # they run, and are not known yet

need(qw(nbdsrv volmgr volctl chromium node npm nbdcopy ffmpeg));
my $modules = build_dir() . '/t-web';
my $from = src_dir() . '/t/web';
if (!-e "$modules/node_modules/.package-lock.json" || -M "$modules/package-lock.json" > -M "$from/package-lock.json") {
	mkdir($modules);
	copy("$from/$_", "$modules/$_") or die "$modules/$_: $!" for qw(package.json package-lock.json);
	my $got = run({ dir => $modules, timeout => 300 }, tool('npm'), qw(ci --ignore-scripts --no-audit --no-fund));
	skip_all("npm cannot fetch the browser's driver here") if $got->{status} != 0;
}

# What is not tested here, and why; where t/packages has installed everything, a lack that it could have helped is a fault.
sub left_out
{
	my ($what, $why, $could) = @_;
	my $all = $> == 0 && run('sh', '-c', '. "$1" && test -z "$(weft_packages_missing $weft_packages_check)"', 'sh', src_dir() . '/t/packages')->{status} == 0;
	return fail("$what: $why") if $could && $all;
  SKIP: { skip("$what: $why", 1) }
	return;
}

my $dir = temp_dir();
$ENV{WEFT_RUN_DIR} = "$dir/run"; # for volmgr, which looks there for what volctl has attached
my $volctl = program('volctl') . " --socket $dir/c/volmgr.sock";
my @commands = ('--attach-command', "$volctl volume attach %v", '--detach-command', "$volctl volume detach %v",
	map { ("--$_-command", "$dir/power $_ %h") } qw(stop start off wake));
# volctl asks where the records are; commands get no environment of ours
s{^\Q$volctl}{/usr/bin/env WEFT_RUN_DIR=$dir/run $volctl} for @commands;
spew("$dir/power", <<"END");
#!/bin/sh
# a host has one server here: no power is no server; what was wanted is noted
echo "\$1 \$2" >>'$dir/ran'
case \$1 in off) set -- stop "\$2" ;; wake) set -- start "\$2" ;; esac
WEFT_BUILD='@{[build_dir()]}' exec '@{[src_dir()]}/t/cluster' "\$1" --dir '$dir/c' "\${2#host-}"
END
chmod(0755, "$dir/power") or die $!;
my $cluster = Weft::Cluster->new(dir => "$dir/c", args => { volmgr => [ '--tagger', "$dir/tagger.sock", '--server-timeout', 60000, @commands ] }, servers => SERVERS + SPARES, ec => '4+2', size => '256M', volume => 'demo');
# the page's test stops and starts volmgr by another process, whose number only the file has
at_end(sub { Weft::Cluster->load("$dir/c")->down });
$cluster->format_stores;
$cluster->start;
my @spares = $cluster->server_names;
$cluster->add_server($_) for splice(@spares, 0, SERVERS);
$cluster->create_volume('demo');
# while the servers are still there
at_end(sub {
	run({ timeout => 20 }, 'umount', '-l', "$dir/files");
	run({ timeout => 30 }, program('volctl'), '--socket', "$dir/c/volmgr.sock", 'volume', 'detach', $_, '--force') for qw(files demo);
});
spew("$dir/in", 'x' x (24 << 20));
run_ok(tool('nbdcopy'), "$dir/in", $cluster->uri);
mkdir("$dir/files");
# files to look at, on a volume; where no device can be made, in a folder
my $kernel = $> == 0 && (-e '/sys/module/nbd' || (-w '/dev/fuse' && -e '/dev/loop-control'));
my $devices = $kernel && tool('mkfs.ext4') && (-e '/sys/module/nbd' || tool('nbdfuse'));
if ($devices) {
	$cluster->volctl('volume', 'create', 'files', '--size', '512M', '--ec', '4+2');
	my ($device) = $cluster->volctl('volume', 'attach', 'files') =~ m{(/dev/\w+)} or BAIL_OUT('no device');
	run_ok('mkfs.ext4', '-q', $device);
	run_ok('mount', $device, "$dir/files");
}
mkdir("$dir/files/notes");
spew("$dir/files/notes/harbour-$_.md", "# The harbour $_\n\nA *lighthouse* and some boats, number **$_**.\n\n- one\n- two\n") for 1 .. 3;
spew("$dir/files/evil.html", "<script>parent.postMessage('ran', '*'); document.title = 'ran'</script>lighthouse");
my $tagger;
if (program('tagger')) {
	$tagger = daemon_start(name => 'tagger', log => "$dir/tagger.log", argv => [ program('tagger'), '--socket',
		"$dir/tagger.sock", '--workers', 1, '--workers-dir', build_dir() . '/tagger/worker' ], positional => [ "$dir/files" ]);
}
at_end(sub { daemon_stop($tagger) if $tagger });
my $invitation = json_decode($cluster->volctl('--json', 'user', 'invite', '--role', 'admin'))->{secret};
(my $http = $cluster->http) =~ s/\Atcp://;
# stops and starts volmgr while the page is open, on the same address
spew("$dir/volmgr", "#!/bin/sh\nexec '" . src_dir() . "/t/cluster' \"\$1\" --dir '$dir/c' volmgr\n");
chmod(0755, "$dir/volmgr") or die $!;
$ENV{WEFT_WEB_MODULES} = $modules;
$ENV{WEFT_BUILD} = build_dir();
$ENV{HOME} = $dir;
$ENV{WEFT_WEB_SPARES} = join(' ', map { $cluster->{address}{$_} } @spares);
$ENV{WEFT_WEB_RAN} = "$dir/ran";
$ENV{WEFT_WEB_DIR} = $dir;
my $got = run({ timeout => 1700 }, tool('node'), "$from/test.js", "http://$http", $invitation, $tagger ? 'tagger' : 'none', $devices ? 'devices' : 'none', "$dir/volmgr");
print STDERR $got->{err} =~ s/^(?!#)/# /mgr if $got->{err} ne '';
my @results = $got->{out} =~ /^((?:not )?ok) \d+ - (.*)$/mg;
while (my ($result, $name) = splice(@results, 0, 2)) {
	ok($result eq 'ok', $name);
}
left_out('files, previews, uploads, shares, the graph', 'tagger is not built', 1) if !$tagger;
left_out('attaching here, files on a volume, a full disk', !$kernel ? 'only root can attach devices, with the nbd module or FUSE and loop devices' : 'mkfs.ext4 or nbdfuse is not there', $kernel) if !$devices;
diag($_) for $got->{out} =~ /^# (.*)$/mg;
is($got->{status}, 0, 'the browser came to the end');
like($got->{out}, qr/^1\.\.\d+$/m, 'and so did the test');
done_testing();
