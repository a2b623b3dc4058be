<?php
// One reader's feed: a fresh page, every page before it, a click, a refused request, and the server's health.
//
//     php client.php HOST PORT USER_ID CHANNEL_ID
//
// An i64 is an int, which has 64 bits wherever PHP itself has; the library's own time-outs are below one second.

declare(strict_types=1);

use Thrift\Exception\TException;
use Thrift\Protocol\TBinaryProtocol;
use Thrift\Transport\TFramedTransport;
use Thrift\Transport\TSocket;
use Tidings\Base\Error as Refused;
use Tidings\Base\HealthProbe;
use Tidings\Recommend\ArticleResponse;
use Tidings\Recommend\Event;
use Tidings\Recommend\ReportRequest;
use Tidings\Recommend\UserRecommendClient;
use Tidings\Recommend\UserRequest;
use Tidings\Recommend\Verdict;

const TIMEOUT_MS = 2000;
const NAMESPACES = ['Thrift\\' => '/usr/lib/php/', 'Tidings\\' => __DIR__ . '/build/src/Tidings/'];

spl_autoload_register(function (string $class): void {
    foreach (NAMESPACES as $prefix => $folder) {
        if (str_starts_with($class, $prefix)) {
            require $folder . str_replace('\\', '/', substr($class, strlen($prefix))) . '.php';
        }
    }
});

function ids(ArticleResponse $page): string
{
    return implode(' ', array_map(fn ($article) => $article->article_id, $page->recommends));
}

function show(UserRecommendClient $client, int $userId, int $channelId): void
{
    $ask = fn (int $stamp, int $articleNum) => $client->user_recommend(new UserRequest([
        'user_id' => $userId, 'channel_id' => $channelId, 'article_num' => $articleNum, 'time_stamp' => $stamp,
    ]));

    $fresh = $ask(0, 10);
    echo 'fresh ', ids($fresh), "\n";

    for ($stamp = $fresh->time_stamp; $stamp !== 0; $stamp = $page->time_stamp) {
        $page = $ask($stamp, 10);
        echo "history $stamp ", ids($page), "\n";
    }

    if ($fresh->recommends) {
        $click = new Event(['token' => $fresh->recommends[0]->track->click, 'at' => (int) (microtime(true) * 1000)]);
        $report = $client->report(new ReportRequest(['events' => [$click]]));
        echo 'click ', Verdict::$__names[$report->verdicts[0]], "\n";
    }

    try {
        $ask(0, 101);
    } catch (Refused $ex) {
        echo "error {$ex->code} article_num: {$ex->details['article_num']}\n";
    }

    echo 'ready ', $client->is_healthy(HealthProbe::READINESS) ? 'yes' : 'no', "\n";
}

if ($argc !== 5) {
    fwrite(STDERR, "usage: client HOST PORT USER_ID CHANNEL_ID\n");
    exit(2);
}
[, $host, $port, $userId, $channelId] = $argv;
$socket = new TSocket($host, (int) $port);
$socket->setSendTimeout(TIMEOUT_MS);  // for connecting too
$socket->setRecvTimeout(TIMEOUT_MS);
try {
    $transport = new TFramedTransport($socket);
    $transport->open();
    show(new UserRecommendClient(new TBinaryProtocol($transport)), (int) $userId, (int) $channelId);
    $transport->close();
} catch (TException $ex) {
    fwrite(STDERR, "client: {$ex->getMessage()}\n");
    exit(1);
}
