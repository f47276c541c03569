from django.urls import path

from accounts import views

urlpatterns = [
    path("webhook-endpoints", views.Endpoints.as_view()),
    path("webhook-endpoints/<uuid:id>", views.OneEndpoint.as_view(), name="webhook-endpoint"),
    path("webhook-endpoints/<uuid:id>/rotate-secret", views.RotateSecret.as_view()),
    path("webhook-endpoints/<uuid:id>/test", views.SendTest.as_view()),
    path("webhook-endpoints/<uuid:id>/redeliver", views.RedeliverRange.as_view()),
    path("webhook-deliveries", views.Deliveries.as_view()),
    path("webhook-deliveries/<uuid:id>/redeliver", views.Redeliver.as_view()),
]
