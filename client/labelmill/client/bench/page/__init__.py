"""The page of `bench offline`: what a run says, in words, a table and plots.

How plots and pages look belongs to `labelmill.pages`; how figures come about to
`labelmill.client.bench.offline`. A page is made from the JSON of a run and nothing else.
"""
