// Command client shows one reader's feed: a fresh page, every page before it, a click, a refused request, and the
// server's health.
//
//	client HOST PORT USER_ID CHANNEL_ID
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/apache/thrift/lib/go/thrift"
	"tidings/base"
	"tidings/recommend"
)

const timeout = 2 * time.Second

// connect opens a connection. It carries one call at a time, so goroutines must not share it.
func connect(address string) (*recommend.UserRecommendClient, thrift.TTransport, error) {
	conf := &thrift.TConfiguration{ConnectTimeout: timeout, SocketTimeout: timeout}
	transport := thrift.NewTFramedTransportConf(thrift.NewTSocketConf(address, conf), conf)
	protocol := thrift.NewTBinaryProtocolConf(transport, conf)
	return recommend.NewUserRecommendClientProtocol(transport, protocol, protocol), transport, transport.Open()
}

func ids(page *recommend.ArticleResponse) (line string) {
	for _, article := range page.Recommends {
		line += fmt.Sprintf(" %d", article.ArticleID)
	}
	return line
}

func show(ctx context.Context, client *recommend.UserRecommendClient, request recommend.UserRequest) error {
	fresh, err := client.UserRecommend(ctx, &request)
	if err != nil {
		return err
	}
	fmt.Printf("fresh%s\n", ids(fresh))

	for request.TimeStamp = fresh.TimeStamp; request.TimeStamp != 0; {
		page, err := client.UserRecommend(ctx, &request)
		if err != nil {
			return err
		}
		fmt.Printf("history %d%s\n", request.TimeStamp, ids(page))
		request.TimeStamp = page.TimeStamp
	}

	if len(fresh.Recommends) > 0 {
		click := &recommend.Event{Token: fresh.Recommends[0].Track.Click, At: time.Now().UnixMilli()}
		report, err := client.Report(ctx, &recommend.ReportRequest{Events: []*recommend.Event{click}})
		if err != nil {
			return err
		}
		fmt.Printf("click %s\n", report.Verdicts[0])
	}

	request.ArticleNum = 101
	_, err = client.UserRecommend(ctx, &request)
	var refused *base.Error
	if !errors.As(err, &refused) {
		return err
	}
	fmt.Printf("error %d article_num: %s\n", refused.Code, refused.Details["article_num"])

	ready, err := client.IsHealthy(ctx, base.HealthProbe_READINESS)
	if err != nil {
		return err
	}
	fmt.Printf("ready %s\n", map[bool]string{true: "yes", false: "no"}[ready])
	return nil
}

func run(args []string) error {
	userID, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		return err
	}
	channelID, err := strconv.ParseInt(args[3], 10, 32)
	if err != nil {
		return err
	}
	client, transport, err := connect(net.JoinHostPort(args[0], args[1]))
	if err != nil {
		return err
	}
	defer transport.Close()
	request := recommend.UserRequest{UserID: userID, ChannelID: int32(channelID), ArticleNum: 10}
	return show(context.Background(), client, request)
}

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: client HOST PORT USER_ID CHANNEL_ID")
		os.Exit(2)
	}
	if err := run(os.Args[1:]); err != nil {
		var refused *base.Error
		if errors.As(err, &refused) {
			err = errors.New(refused.Message)
		}
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}
