#!/usr/bin/perl
# One reader's feed: a fresh page, every page before it, a click, a refused request, and the server's health.
#
#     perl client.pl HOST PORT USER_ID CHANNEL_ID
#
# The library hands over an i64 as a decimal string. Where it becomes a number, it is one of 64 bits.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/build/src";
use List::Util qw(first);
use Time::HiRes qw(time);

use Thrift::BinaryProtocol;
use Thrift::FramedTransport;
use Thrift::Socket;
use Tidings::Base::Types;
use Tidings::Recommend::Types;

BEGIN {
    # In the server's half of the stubs the compiler declares one variable twice, and Perl says so at each start.
    local $SIG{__WARN__} = sub ($text) { warn $text unless $text =~ /masks earlier declaration/ };
    require Tidings::Recommend::UserRecommend;
}

use constant TIMEOUT_MS => 2000;

sub ids ($page) {
    return join ' ', map { $_->article_id } @{ $page->recommends };
}

sub verdict_name ($number) {
    return first { Tidings::Recommend::Verdict->can($_)->() == $number } qw(ACCEPTED REFUSED EXPIRED);
}

sub show ($client, $user_id, $channel_id) {
    my $ask = sub ($stamp, $article_num) {
        return $client->user_recommend(
            Tidings::Recommend::UserRequest->new({
                user_id     => $user_id,
                channel_id  => $channel_id,
                article_num => $article_num,
                time_stamp  => $stamp,
            })
        );
    };

    my $fresh = $ask->(0, 10);
    say 'fresh ', ids($fresh);

    my $stamp = $fresh->time_stamp;
    while ($stamp != 0) {
        my $page = $ask->($stamp, 10);
        say "history $stamp ", ids($page);
        $stamp = $page->time_stamp;
    }

    if (my ($article) = @{ $fresh->recommends }) {
        my $click  = Tidings::Recommend::Event->new({ token => $article->track->click, at => int(time * 1000) });
        my $report = $client->report(Tidings::Recommend::ReportRequest->new({ events => [$click] }));
        say 'click ', verdict_name($report->verdicts->[0]);
    }

    eval { $ask->(0, 101); 1 } or do {
        my $ex = $@;
        die $ex unless ref $ex && $ex->isa('Tidings::Base::Error');
        say 'error ', $ex->code, ' article_num: ', $ex->details->{article_num};
    };

    say 'ready ', $client->is_healthy(Tidings::Base::HealthProbe::READINESS) ? 'yes' : 'no';
    return;
}

if (@ARGV != 4) {
    say STDERR 'usage: client HOST PORT USER_ID CHANNEL_ID';
    exit 2;
}
my ($host, $port, $user_id, $channel_id) = @ARGV;
my $socket    = Thrift::Socket->new({ host => $host, port => $port, sendTimeout => TIMEOUT_MS, recvTimeout => TIMEOUT_MS });
my $transport = Thrift::FramedTransport->new($socket);
eval {
    $transport->open;
    show(Tidings::Recommend::UserRecommendClient->new(Thrift::BinaryProtocol->new($transport)), $user_id, $channel_id);
    $transport->close;
    1;
} or do {
    my $reason = ref $@ ? $@->{message} : $@;
    chomp $reason;
    say STDERR "client: $reason";
    exit 1;
};
