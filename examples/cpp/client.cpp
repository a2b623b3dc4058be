// One reader's feed: a fresh page, every page before it, a click, a refused request, and the server's health.
//
//     client HOST PORT USER_ID CHANNEL_ID
//
// A connection carries one call at a time; threads must not share it.

#include <chrono>
#include <cstdint>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include <thrift/protocol/TBinaryProtocol.h>
#include <thrift/transport/TBufferTransports.h>
#include <thrift/transport/TSocket.h>

#include "UserRecommend.h"

using namespace tidings::recommend;
using apache::thrift::protocol::TBinaryProtocol;
using apache::thrift::transport::TFramedTransport;
using apache::thrift::transport::TSocket;
using tidings::base::HealthProbe;

constexpr int kTimeoutMs = 2000;

std::int64_t now_ms() {
    using namespace std::chrono;
    return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

std::ostream& operator<<(std::ostream& out, const std::vector<Article>& articles) {
    for (const auto& article : articles) out << ' ' << article.article_id;
    return out;
}

void show(UserRecommendClient& client, UserRequest request) {
    auto ask = [&](std::int64_t stamp, std::int32_t article_num) {
        ArticleResponse page;
        request.__set_time_stamp(stamp);
        request.__set_article_num(article_num);
        client.user_recommend(page, request);
        return page;
    };

    const auto fresh = ask(0, 10);
    std::cout << "fresh" << fresh.recommends << '\n';

    for (auto stamp = fresh.time_stamp; stamp != 0;) {
        const auto page = ask(stamp, 10);
        std::cout << "history " << stamp << page.recommends << '\n';
        stamp = page.time_stamp;
    }

    if (!fresh.recommends.empty()) {
        Event click;
        click.__set_token(fresh.recommends.front().track.click);
        click.__set_at(now_ms());
        ReportRequest report;
        report.__set_events({click});
        ReportResponse answer;
        client.report(answer, report);
        std::cout << "click " << answer.verdicts.front() << '\n';
    }

    try {
        ask(0, 101);
    } catch (const tidings::base::Error& ex) {
        std::cout << "error " << ex.code << " article_num: " << ex.details.at("article_num") << '\n';
    }

    std::cout << "ready " << (client.is_healthy(HealthProbe::READINESS) ? "yes" : "no") << '\n';
}

int main(int argc, char** argv) try {
    if (argc != 5) {
        std::cerr << "usage: client HOST PORT USER_ID CHANNEL_ID\n";
        return 2;
    }
    // The library would print each failure on its own account besides throwing it.
    apache::thrift::GlobalOutput.setOutputFunction([](const char*) {});
    auto socket = std::make_shared<TSocket>(argv[1], std::stoi(argv[2]));
    socket->setConnTimeout(kTimeoutMs);
    socket->setSendTimeout(kTimeoutMs);
    socket->setRecvTimeout(kTimeoutMs);
    socket->open();
    UserRecommendClient client(std::make_shared<TBinaryProtocol>(std::make_shared<TFramedTransport>(socket)));
    UserRequest request;
    request.__set_user_id(std::stoll(argv[3]));
    request.__set_channel_id(std::stoi(argv[4]));
    show(client, request);
    return 0;
} catch (const tidings::base::Error& ex) {
    std::cerr << "client: " << ex.message << '\n';
    return 1;
} catch (const std::exception& ex) {
    std::cerr << "client: " << ex.what() << '\n';
    return 1;
}
