# frozen_string_literal: true

# One reader's feed: a fresh page, every page before it, a click, a refused request, and the server's health.
#
#     ruby client.rb HOST PORT USER_ID CHANNEL_ID
#
# A connection carries one call at a time; threads must not share it.

$LOAD_PATH.unshift(File.join(__dir__, 'build/src'))
require 'thrift'
require 'user_recommend'

include Tidings::Recommend

TIMEOUT_S = 2

def ids(page)
  page.recommends.map(&:article_id).join(' ')
end

def show(client, user_id, channel_id)
  ask = lambda do |stamp, article_num|
    client.user_recommend(
      UserRequest.new(user_id: user_id, channel_id: channel_id, article_num: article_num, time_stamp: stamp)
    )
  end

  fresh = ask.call(0, 10)
  puts "fresh #{ids(fresh)}"

  stamp = fresh.time_stamp
  until stamp.zero?
    page = ask.call(stamp, 10)
    puts "history #{stamp} #{ids(page)}"
    stamp = page.time_stamp
  end

  fresh.recommends.first(1).each do |article|
    click = Event.new(token: article.track.click, at: Process.clock_gettime(Process::CLOCK_REALTIME, :millisecond))
    verdict, = client.report(ReportRequest.new(events: [click])).verdicts
    puts "click #{Verdict::VALUE_MAP[verdict]}"
  end

  begin
    ask.call(0, 101)
  rescue Tidings::Base::Error => e
    puts "error #{e.code} article_num: #{e.details['article_num']}"
  end

  puts "ready #{client.is_healthy(Tidings::Base::HealthProbe::READINESS) ? 'yes' : 'no'}"
end

unless ARGV.size == 4
  warn 'usage: client HOST PORT USER_ID CHANNEL_ID'
  exit 2
end
host, port, user_id, channel_id = ARGV
transport = Thrift::FramedTransport.new(Thrift::Socket.new(host, Integer(port), TIMEOUT_S))
begin
  transport.open
  show(UserRecommend::Client.new(Thrift::BinaryProtocol.new(transport)), Integer(user_id), Integer(channel_id))
rescue Thrift::Exception => e
  abort "client: #{e.message}"
ensure
  transport.close
end
