"""The recommender: which articles to show one reader, as the Thrift service `UserRecommend`.

A request goes through `recall → filter → rank → mix → record`, one module each; `pipeline` joins
them.
"""
