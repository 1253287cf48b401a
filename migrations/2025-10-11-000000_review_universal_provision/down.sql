DROP TABLE universal_reviews;
