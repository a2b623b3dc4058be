// One reader's feed: a fresh page, every page before it, a click, a refused request, and the server's health.
//
//     node client.js HOST PORT USER_ID CHANNEL_ID
//
// An i64 travels as an 8-byte Int64. It becomes a BigInt here, because a Number rounds ids above 2^53 without a word.
"use strict";

const thrift = require("thrift");
const { Error: Refused, HealthProbe } = require("./build/src/base_types");
const { Event, ReportRequest, UserRequest, Verdict } = require("./build/src/recommend_types");
const UserRecommend = require("./build/src/UserRecommend");

const { fromBigInt, toBigInt } = thrift;
const TIMEOUT_MS = 2000;

function connect(host, port) {
  const connection = thrift.createConnection(host, port, {
    transport: thrift.TFramedTransport,
    protocol: thrift.TBinaryProtocol,
    connect_timeout: TIMEOUT_MS,
    timeout: TIMEOUT_MS,
  });
  const client = thrift.createClient(UserRecommend, connection);
  // The library tells nobody who waits for a reply that none will come, so every call races against this.
  const failure = new Promise((_, reject) => {
    connection.on("error", reject);
    connection.on("timeout", () => reject(new Error(`no answer within ${TIMEOUT_MS} ms`)));
    connection.on("close", () => reject(new Error("the server closed the connection")));
  });
  failure.catch(() => connection.destroy());
  const call = (method, request) => Promise.race([client[method](request), failure]);
  return { call, close: () => connection.end() };
}

const ids = (page) => page.recommends.map((article) => toBigInt(article.article_id)).join(" ");

async function show(call, userId, channelId) {
  const ask = (stamp, articleNum) =>
    call(
      "user_recommend",
      new UserRequest({
        user_id: fromBigInt(userId),
        channel_id: channelId,
        article_num: articleNum,
        time_stamp: fromBigInt(stamp),
      }),
    );

  const fresh = await ask(0n, 10);
  console.log(`fresh ${ids(fresh)}`);

  for (let stamp = toBigInt(fresh.time_stamp); stamp !== 0n; ) {
    const page = await ask(stamp, 10);
    console.log(`history ${stamp} ${ids(page)}`);
    stamp = toBigInt(page.time_stamp);
  }

  for (const { track } of fresh.recommends.slice(0, 1)) {
    const click = new Event({ token: track.click, at: fromBigInt(Date.now()) });
    const { verdicts } = await call("report", new ReportRequest({ events: [click] }));
    console.log(`click ${Object.keys(Verdict).find((name) => Verdict[name] === verdicts[0])}`);
  }

  try {
    await ask(0n, 101);
  } catch (ex) {
    if (!(ex instanceof Refused)) throw ex;
    console.log(`error ${ex.code} article_num: ${ex.details.article_num}`);
  }

  console.log(`ready ${(await call("is_healthy", HealthProbe.READINESS)) ? "yes" : "no"}`);
}

async function main([host, port, userId, channelId]) {
  const { call, close } = connect(host, Number(port));
  await show(call, BigInt(userId), Number(channelId));
  close();
}

if (process.argv.length !== 6) {
  console.error("usage: client HOST PORT USER_ID CHANNEL_ID");
  process.exit(2);
}
main(process.argv.slice(2)).catch((ex) => {
  console.error(`client: ${ex.message}`);
  process.exit(1);
});
