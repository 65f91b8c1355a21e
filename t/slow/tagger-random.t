#!/usr/bin/perl
# Ten thousand changes of a tree at random, while tagger follows; then the index has exactly what is
# on disk. And the same after kill -9 at random moments, between and while indexing.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../lib";
use File::Path qw(make_path remove_tree);
use Test::More;
use Weft;
use Weft::Tagger;

use constant OPERATIONS => $ENV{WEFT_OPERATIONS} // 10_000;
use constant KILLS => 8;

need(qw(tagger curl));
my $seed = $ENV{WEFT_SEED} // int(rand(1 << 30));
diag("seed $seed (WEFT_SEED)");
srand($seed);
my $base = temp_dir();
my $dir = "$base/tree";
my $out = "$base/out";
make_path($dir, $out);
# a file system of its own is followed in another way; nothing can be moved out of it
my $mount = $ENV{WEFT_MOUNT} && $> == 0;
run_ok("mount", "-t", "tmpfs", "weft-test", $dir) if $mount;
my @word = map { my $n = $_; join('', map { ('ka', 'lo', 'mi', 'tu', 're', 'so')[($n >> (3 * $_)) % 6] } 0 .. 3) } 1 .. 200;

# What is in the tree: path => 'd' or 'f'. Folders are there from their parents on.
my %tree = ('' => 'd');
my $number = 0;

sub pick { my @of = @_; return $of[int(rand(@of))] }
sub folders { return grep { $tree{$_} eq 'd' } keys %tree }
sub join_path { my ($folder, $name) = @_; return $folder eq '' ? $name : "$folder/$name" }
sub text { return join(' ', map { pick(@word) } 1 .. 5 + rand(60)) . "\n" }

sub new_path
{
	my $name = pick('report', 'IMG_', 'notes', 'Draft', "\xc3\xa4") . $number++ . pick('.txt', '.md', '', '.jpg');
	return join_path(pick(folders()), $name);
}

sub retree
{
	my ($from, $to) = @_;
	for my $path (keys %tree) {
		next if $path ne $from && index($path, "$from/") != 0;
		my $kind = delete $tree{$path};
		$tree{ $to . substr($path, length $from) } = $kind if defined $to;
	}
	return;
}

my %operation = (
	create => sub { my $p = new_path(); spew_in("$dir/$p"); $tree{$p} = 'f' },
	mkdir => sub {
		return if folders() > 40;
		my $p = join_path(pick(folders()), 'dir' . $number++);
		mkdir("$dir/$p") or die "$p: $!";
		$tree{$p} = 'd';
	},
	write => sub { my $p = file() // return; spew_in("$dir/$p") },
	rename => sub {
		my $p = pick(grep { $_ ne '' } keys %tree) // return;
		my $to = $tree{$p} eq 'd' ? join_path(pick(folders()), 'moved' . $number++) : new_path();
		return if index("$to/", "$p/") == 0;
		rename("$dir/$p", "$dir/$to") or die "$p to $to: $!";
		retree($p, $to);
	},
	replace => sub {
		my ($p, $q) = (file(), file());
		return if !defined $p || $p eq $q;
		rename("$dir/$p", "$dir/$q") or die "$p over $q: $!";
		delete $tree{$p};
	},
	delete => sub { my $p = file() // return; unlink("$dir/$p") or die "$p: $!"; delete $tree{$p} },
	remove => sub {
		my $p = pick(grep { $_ ne '' } folders()) // return;
		return if rand() > 0.2;
		remove_tree("$dir/$p");
		retree($p, undef);
	},
	out => sub {
		my $p = pick(grep { $_ ne '' } keys %tree) // return;
		return if $tree{$p} eq 'd' && rand() > 0.2;
		rename("$dir/$p", "$out/" . $number++) or die "$p: $!";
		retree($p, undef);
	},
	in => sub {
		my $from = pick(glob("$out/*")) // return;
		my $to = join_path(pick(folders()), 'back' . $number++);
		rename($from, "$dir/$to") or die "$from: $!";
		for my $path (split(/\0/, run_ok('find', "$dir/$to", '-printf', '%P/%y\0'))) {
			my ($below, $kind) = $path =~ m{\A(.*)/(.)\z}s;
			$tree{ $below eq '' ? $to : "$to/$below" } = $kind;
		}
	},
);
my @often = ((qw(create)) x 30, (qw(rename)) x 25, (qw(write)) x 15, (qw(delete)) x 15, (qw(mkdir)) x 5, 'remove', qw(replace) x 5,
	'out', 'out', 'in', 'in');
@often = grep { !/^(?:in|out)$/ } @often if $mount;

sub file { return pick(grep { $tree{$_} eq 'f' } keys %tree) }

sub spew_in
{
	my ($path) = @_;
	open(my $fh, '>', $path) or die "$path: $!";
	print $fh text();
	close($fh) or die;
	return;
}

sub on_disk
{
	my %disk;
	for (split(/\0/, run_ok('find', $dir, '-mindepth', 1, '-printf', '%y %s %P\0'))) {
		my ($kind, $size, $path) = /\A(.) (\d+) (.*)\z/s;
		$disk{$path} = $kind eq 'd' ? 'folder' : $size;
	}
	return \%disk;
}

sub in_index
{
	my ($tagger) = @_;
	return { map { $_->{name} => $_->{kind} eq 'folder' ? 'folder' : $_->{size} }
		grep { $_->{kind} ne 'tag' && $_->{name} ne '' } @{ json_decode($tagger->call('GET', '/export', {})->{body})->{nodes} } };
}

# Once more than "is the same": until the last events were taken.
sub agrees
{
	my ($tagger, $name) = @_;
	my ($disk, $index) = (on_disk());
	$tagger->wait_idle(120);
	eval { wait_until('an index that agrees', 60, sub {
		$index = in_index($tagger);
		return join("\0", map { "$_=$disk->{$_}" } sort keys %$disk) eq join("\0", map { "$_=$index->{$_}" } sort keys %$index);
	}) };
	for (keys %$disk, keys %$index) {
		diag("$_: disk " . ($disk->{$_} // 'none') . ', index ' . ($index->{$_} // 'none'))
		    if ($disk->{$_} // '') ne ($index->{$_} // '');
	}
	return is_deeply($index, $disk, $name);
}

my $tagger = Weft::Tagger->new(dir => $dir, base => $base,
	args => [ "--watch", $ENV{WEFT_WATCH} // "auto" ]);
$tagger->wait_idle();
$operation{ pick(@often) }->() for 1 .. OPERATIONS;
is(scalar(keys %{ on_disk() }), scalar(keys %tree) - 1, 'the model has what is on disk');
agrees($tagger, 'after ' . OPERATIONS . ' changes the index has what is on disk');
my $waiting = $tagger->found('is:waiting');
is_deeply($waiting, [], 'and everything was read');
is_deeply($tagger->found('is:failed'), [], 'without failures');
my $ids = { map { $_->{name} => $_->{id} } @{ json_decode($tagger->call('GET', '/export', {})->{body})->{nodes} } };

for my $n (1 .. KILLS) {
	$operation{ pick(@often) }->() for 1 .. rand(200);
	select(undef, undef, undef, rand(0.3));
	$tagger->stop('KILL');
	$operation{ pick(@often) }->() for 1 .. rand(200);
	$tagger->start();
}
agrees($tagger, 'after ' . KILLS . ' times kill -9 as well');
is_deeply($tagger->found('is:waiting'), [], 'everything was read');
my $nodes = json_decode($tagger->call('GET', '/export', {})->{body});
my %known = map { $_->{id} => 1 } @{ $nodes->{nodes} };
is((grep { !$known{ $_->{from} } || !$known{ $_->{to} } } @{ $nodes->{edges} }), 0, 'no tag has files that are not there');
$tagger->stop();
unlike(slurp("$base/log"), qr/error:(?!.*cannot start)/, 'no error was logged');
done_testing();
